//! The policies that are shipped: in order, without an idle rule, and doing what they say.

use super::*;

fn shipped(name: &str) -> PolicySet {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let set =
        PolicySet::parse(&[(name.into(), text)], &local()).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(set.idle_rules(), []);
    set
}

#[test]
fn every_shipped_policy_is_tried_here() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["open.yaml", "partners-only.yaml", "signed-only.yaml"]
    );
}

fn standing(sender: SenderStanding, signature: SignatureStanding) -> Standing {
    Standing {
        sender,
        signature,
        ..Standing::default()
    }
}

fn outcome(set: &PolicySet, (from, to): (&str, &str), standing: Standing) -> String {
    let mut letter = Letter::from(from, to);
    letter.standing = standing;
    if standing.is_ours() {
        let out = Direction::Submission | Direction::Outbound;
        letter.directions = match to.ends_with("@example.com") {
            true => Direction::Submission.into(),
            false => out,
        };
    }
    letter.schema = SchemaId::parse("agntcy:commerce.order.v1").ok();
    let verdict = set.decide(&letter.question());
    let code = verdict.refusal.map(|code| code.as_str());
    code.unwrap_or(verdict.action.as_str()).to_owned()
}

#[test]
fn the_open_one_lets_everybody_write() {
    let set = shipped("open.yaml");
    let stranger = Standing::default();
    assert_eq!(
        outcome(&set, ("x@q.com", "a@example.com"), stranger),
        "allow"
    );
    assert_eq!(
        outcome(&set, ("a@example.com", "x@q.com"), Standing::local()),
        "allow"
    );
}

#[test]
fn the_one_for_partners_lets_in_and_out_who_is_named() {
    let set = shipped("partners-only.yaml");
    let stranger = Standing::default();
    let near = standing(SenderStanding::SourceAddress, SignatureStanding::Absent);
    let signed = standing(SenderStanding::Verified, SignatureStanding::Valid);
    let notice = standing(SenderStanding::Internal, SignatureStanding::Absent);
    for (way, standing, expected) in [
        (("x@partner.example", "a@example.com"), near, "allow"),
        (
            ("x@partner.example", "a@example.com"),
            stranger,
            "POLICY_DENIED",
        ),
        (
            ("x@eu.supplier.example", "orders-1@example.com"),
            signed,
            "allow",
        ),
        (
            ("x@eu.supplier.example", "orders-1@example.com"),
            near,
            "SIGNATURE_REQUIRED",
        ),
        (
            ("x@eu.supplier.example", "a@example.com"),
            signed,
            "POLICY_DENIED",
        ),
        (
            ("x@supplier.example", "orders-1@example.com"),
            signed,
            "POLICY_DENIED",
        ),
        (("x@q.com", "a@example.com"), signed, "POLICY_DENIED"),
        (("x@q.com", "postmaster@example.com"), stranger, "allow"),
        (
            ("a@example.com", "x@partner.example"),
            Standing::local(),
            "allow",
        ),
        (
            ("a@example.com", "x@eu.supplier.example"),
            Standing::local(),
            "allow",
        ),
        (
            ("a@example.com", "x@q.com"),
            Standing::local(),
            "POLICY_DENIED",
        ),
        (
            ("a@example.com", "b@example.com"),
            Standing::local(),
            "allow",
        ),
        (("workflow@example.com", "b@example.com"), notice, "allow"),
        (
            ("a2a+x@example.com", "b@example.com"),
            stranger,
            "POLICY_DENIED",
        ),
    ] {
        assert_eq!(
            outcome(&set, way, standing),
            expected,
            "{way:?} {standing:?}"
        );
    }
}

#[test]
fn the_one_for_signed_messages_takes_nothing_else_from_others() {
    let set = shipped("signed-only.yaml");
    let way = ("x@q.com", "a@example.com");
    let mut table = vec![(("a@example.com", "x@q.com"), Standing::local(), "allow")];
    for (sender, signature, expected) in [
        (SenderStanding::Verified, SignatureStanding::Valid, "allow"),
        (
            SenderStanding::Unverified,
            SignatureStanding::Absent,
            "SIGNATURE_REQUIRED",
        ),
        (
            SenderStanding::SourceAddress,
            SignatureStanding::Absent,
            "SIGNATURE_REQUIRED",
        ),
        (
            SenderStanding::Verified,
            SignatureStanding::Absent,
            "SIGNATURE_REQUIRED",
        ),
        (
            SenderStanding::Unverified,
            SignatureStanding::Invalid,
            "SIGNATURE_INVALID",
        ),
        (
            SenderStanding::Unverified,
            SignatureStanding::KeyUnavailable,
            "SIGNATURE_KEY_UNAVAILABLE",
        ),
    ] {
        table.push((way, standing(sender, signature), expected));
    }
    for (way, standing, expected) in table {
        assert_eq!(outcome(&set, way, standing), expected, "{standing:?}");
    }
    let mail = Letter::from("x@q.com", "a@example.com").going(Direction::BridgeIn);
    assert_eq!(set.decide(&mail.question()).action, Action::Hold);
}
