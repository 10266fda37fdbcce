//! Parameters in the query of a URL, as HTTP+JSON has them for GET and DELETE.

use crate::protocol::json::write_string;
use crate::task::Fault;

/// The parameters that are true or false.
const FLAGS: [&str; 1] = ["includeArtifacts"];

/// The same parameters as a JSON object, to be read like the body of a request. `path` has those that
/// stand in the path of the URL.
///
/// # Errors
/// A parameter comes twice.
pub(in crate::endpoint::a2a) fn object<'a>(
    path: &[(&'a str, &'a str)],
    query: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<String, Fault> {
    let mut out = vec![b'{'];
    let mut seen: Vec<&str> = Vec::new();
    // The version may stand here too; it is no parameter of an operation.
    let query = query.filter(|(name, _)| !name.eq_ignore_ascii_case("a2a-version"));
    for (name, value) in path.iter().copied().chain(query) {
        if seen.contains(&name) {
            return Err(Fault::new(name, "must not be repeated"));
        }
        if !seen.is_empty() {
            out.push(b',');
        }
        seen.push(name);
        write_string(name, &mut out);
        out.push(b':');
        match FLAGS.contains(&name) && matches!(value, "true" | "false") {
            true => out.extend_from_slice(value.as_bytes()),
            false => write_string(value, &mut out),
        }
    }
    out.push(b'}');
    Ok(String::from_utf8_lossy(&out).into_owned())
}
