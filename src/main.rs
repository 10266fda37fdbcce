//! The `amtpd` binary: runs a command and maps what came of it to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A second provider, turned on by some later dependency, must not make this choice for us.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    amtpd::cli::run()
}
