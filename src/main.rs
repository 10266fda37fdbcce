//! The `amtpd` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything can ask for cryptography, so that no library's own choice comes first.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    amtpd::cli::run(std::env::args_os())
}
