//! The section `schemas`.

use super::Folder;
use crate::config::UnknownSchemas;

/// A public key on P-256, and the same on another curve in name.
const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";
const OTHER: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQgDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";

#[test]
fn every_key_is_taken_and_none_is_needed() {
    let folder = Folder::new();
    let schemas = folder.load(&folder.needed(), &[]).unwrap().schemas;
    assert!(schemas.dir.is_none() && schemas.registries.is_empty());
    assert_eq!(schemas.unknown, UnknownSchemas::Accept);
    let text = format!(
        "schemas:\n  dir: schemas\n  unknown: refuse\n  registries:\n  - url: https://r.example/v1\n    \
         key: {KEY}\n    patterns: [\"agntcy:partner.*\"]\nnet: {{allow: {{schemas: [10.0.0.0/8]}}}}\n"
    );
    let config = folder.load(&(folder.needed() + &text), &[]).unwrap();
    let schemas = config.schemas;
    assert_eq!(schemas.dir, Some(folder.path("schemas")));
    assert_eq!(schemas.unknown, UnknownSchemas::Refuse);
    let registry = &schemas.registries[0];
    assert_eq!(registry.url.as_str(), "https://r.example/v1");
    assert_eq!((registry.key.len(), registry.key[0]), (65, 4));
    assert_eq!(registry.patterns[0].as_str(), "agntcy:partner.*");
    assert_eq!(config.net.allow.schemas.len(), 1);
}

#[test]
fn one_wrong_value_is_one_fault_with_its_line() {
    let folder = Folder::new();
    let registry = |text: &str| format!("  registries:\n  - {{{text}}}\n");
    let whole = |url: &str, key: &str, patterns: &str| {
        registry(&format!(
            "url: \"{url}\", key: \"{key}\", patterns: {patterns}"
        ))
    };
    let url = "https://r.example";
    let table = [
        ("  dir: nowhere\n".to_owned(), "10:8: schemas.dir: "),
        ("  dir: cert.pem\n".to_owned(), "10:8: schemas.dir: "),
        ("  unknown: maybe\n".to_owned(), "10:12: schemas.unknown: "),
        (
            "  registries: x\n".to_owned(),
            "10:15: schemas.registries: must be a list",
        ),
        (
            "  registries: [x]\n".to_owned(),
            "10:16: schemas.registries: has an entry",
        ),
        (
            registry("url: \"https://r.example\""),
            "11:5: schemas.registries: has a registry without `key`",
        ),
        (
            registry("url: x, kee: y"),
            "11:19: schemas.registries: has a registry in which \"kee\" is no key",
        ),
        (
            whole("http://r.example", KEY, "[a]"),
            "11:11: schemas.registries: ",
        ),
        (
            whole(url, "AAAA", "[a]"),
            "schemas.registries: \"AAAA\" is not a public key",
        ),
        (whole(url, OTHER, "[a]"), "is not a public key"),
        (whole(url, KEY, "[]"), "is empty"),
        (whole(url, KEY, "[\"\"]"), "is not an identifier"),
    ];
    for (text, expected) in table {
        let faults = folder.faults(&format!("schemas:\n{text}"));
        let told = faults.len() == 1 && faults[0].contains(expected);
        assert!(told, "{text}: {faults:?}");
    }
}
