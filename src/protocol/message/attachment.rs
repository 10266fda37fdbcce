//! References to files that lie elsewhere. AMTP 1.0, section 4.2.2.

use super::super::json::{items, scan_object};
use super::{Faults, Profile, is_absent};

/// A reference to a file; the file itself does not travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The name to show; any text but U+0000, so never a path to trust.
    pub filename: Box<str>,
    /// The media type, such as `application/pdf`.
    pub content_type: Box<str>,
    /// The length of the file in bytes, as the sender says.
    pub size: u64,
    /// `sha256:`, `sha512:` or (flagged) `md5:`, and hex digits.
    pub hash: Box<str>,
    /// Where the file is: `https`, or (flagged) `http`.
    pub url: Box<str>,
    /// Whether a peer sent a weak hash or an address without TLS, which a local sender may not.
    pub flagged: bool,
}

/// Reads the member `attachments`.
pub(super) fn read(value: &str, profile: Profile, faults: &mut Faults) -> Box<[Attachment]> {
    let Some(items) = items(value) else {
        faults.add("attachments", "must be an array");
        return Box::default();
    };
    let mut attachments = Vec::new();
    for (index, item) in items.enumerate() {
        attachments.extend(read_one(item, index, profile, faults));
        if faults.is_full() {
            break;
        }
    }
    attachments.into()
}

fn read_one(
    value: &str,
    index: usize,
    profile: Profile,
    faults: &mut Faults,
) -> Option<Attachment> {
    let Ok(members) = scan_object(value.as_bytes()) else {
        faults.add(format_args!("attachments[{index}]"), "must be an object");
        return None;
    };
    let mut texts: [Option<Box<str>>; 4] = Default::default();
    for (text, (name, check)) in texts.iter_mut().zip(TEXTS) {
        let field = format_args!("attachments[{index}].{name}");
        let found = members.iter().find(|(other, _)| other == name);
        let raw = found.map_or("null", |(_, place)| &value[place.clone()]);
        *text = if is_absent(raw) {
            faults.add(field, "is required");
            None
        } else {
            faults.parsed(field, raw, |text| {
                check(text, profile).map(|()| text.into())
            })
        };
    }
    let size = members.iter().find(|(name, _)| name == "size");
    let size = size.and_then(|(_, place)| value[place.clone()].parse().ok());
    if size.is_none() {
        faults.add(
            format_args!("attachments[{index}].size"),
            "must be a whole number of bytes",
        );
    }
    let [filename, content_type, hash, url] = texts;
    let (hash, url) = (hash?, url?);
    Some(Attachment {
        filename: filename?,
        content_type: content_type?,
        size: size?,
        flagged: is_weak(&hash, &url),
        hash,
        url,
    })
}

type Check = fn(&str, Profile) -> Result<(), &'static str>;

const TEXTS: [(&str, Check); 4] = [
    ("filename", check_filename),
    ("content_type", check_content_type),
    ("hash", check_hash),
    ("url", check_url),
];

fn check_filename(text: &str, _: Profile) -> Result<(), &'static str> {
    let rule = "must not contain U+0000";
    if text.contains('\0') {
        Err(rule)
    } else {
        Ok(())
    }
}

fn check_content_type(text: &str, _: Profile) -> Result<(), &'static str> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let halves = text.split_once('/');
    match halves {
        Some((kind, rest)) if printable && !kind.is_empty() && !rest.is_empty() => Ok(()),
        _ => Err("must be a media type such as text/plain"),
    }
}

fn check_hash(text: &str, profile: Profile) -> Result<(), &'static str> {
    let known = match text.split_once(':') {
        Some(("sha256" | "sha512", digits)) => Some(digits),
        Some(("md5", digits)) if profile == Profile::Relay => Some(digits),
        _ => None,
    };
    match known {
        Some(digits) if is_hex(digits) => Ok(()),
        _ => Err("must be sha256: or sha512: and hex digits"),
    }
}

fn is_hex(digits: &str) -> bool {
    (1..=128).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_url(text: &str, profile: Profile) -> Result<(), &'static str> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some((scheme, rest))
            if profile == Profile::Relay && scheme.eq_ignore_ascii_case("http") =>
        {
            rest
        }
        _ => return Err("must be an https URL"),
    };
    let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':', '@']);
    let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if has_host && clean {
        Ok(())
    } else {
        Err("must be an https URL")
    }
}

fn is_weak(hash: &str, url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    hash.starts_with("md5:") || scheme.eq_ignore_ascii_case("http")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{relay, submission, told};
    use serde_json::{Value, json};

    fn attached(changed: &str) -> Value {
        let mut whole = json!({"filename": "a", "content_type": "a/b", "size": 0,
            "hash": "sha512:00", "url": "https://x.example/"});
        let changed: Value = serde_json::from_str(changed).unwrap();
        for (name, value) in changed.as_object().unwrap() {
            whole[name] = value.clone();
        }
        json!({ "attachments": [whole] })
    }

    const BROKEN: &str = r#"
{"filename": ""} => filename: is required
{"filename": "a\u0000"} => filename: must not contain U+0000
{"filename": 1} => filename: must be a string
{"content_type": "pdf"} => content_type: must be a media type
{"content_type": "a/b\r\nX: y"} => content_type: must be a media type
{"size": -1} => size: must be a whole number
{"size": 1.5} => size: must be a whole number
{"size": null} => size: must be a whole number
{"hash": null} => hash: is required
{"hash": "md5:00"} => hash: must be sha256
{"hash": "sha256:xyz"} => hash: must be sha256
{"hash": "sha256:"} => hash: must be sha256
{"url": "http://x.example/"} => url: must be an https URL
{"url": "https:///a"} => url: must be an https URL
{"url": "https://a b"} => url: must be an https URL
"#;

    #[test]
    fn every_broken_rule_is_named_with_its_place() {
        for line in BROKEN.trim().lines() {
            let (changed, expected) = line.split_once(" => ").unwrap();
            let told = told(&submission(attached(changed)).unwrap_err());
            let expected = format!("INVALID_MESSAGE_FORMAT attachments[0].{expected}");
            assert!(told.starts_with(&expected), "{line} gave {told}");
        }
        for (value, expected) in [
            (json!({}), "attachments: must"),
            (json!([1]), "attachments[0]: must"),
        ] {
            let told = told(&relay(json!({ "attachments": value })).unwrap_err());
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn weak_references_are_flagged_from_a_peer_and_refused_from_a_client() {
        let table = [
            ("{}", false),
            (r#"{"url": "HTTPS://x.example"}"#, false),
            (r#"{"hash": "md5:00"}"#, true),
            (r#"{"url": "Http://x.example"}"#, true),
        ];
        for (changed, weak) in table {
            let message = relay(attached(changed)).unwrap();
            assert_eq!(message.attachments()[0].flagged, weak, "{changed}");
            assert_eq!(submission(attached(changed)).is_err(), weak, "{changed}");
        }
    }
}
