//! What Agentry keeps of keys.

use super::agents::hash_of;
use crate::auth::imported_hash;

#[test]
fn a_hash_and_a_key_kept_as_it_is_are_told_apart() {
    let key = "A-lice5678901234567890123456789012345678901";
    let hash = imported_hash(key, "salt");
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash_of(&digits), Some(hash));
    assert_eq!(hash_of(&digits.to_uppercase()), Some(hash));
    assert_eq!(hash_of(key), Some(imported_hash(key, "")));
    assert_eq!(hash_of(""), None);
    assert_eq!(hash_of("short"), None);
    assert_eq!(
        hash_of(&"é".repeat(32)),
        Some(imported_hash(&"é".repeat(32), ""))
    );
}
