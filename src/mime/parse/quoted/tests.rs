use super::cut;

/// Text, `===`, what was written, `===`, what is quoted (empty: nothing).
const CASES: &[(&str, &str, &str)] = &[
    ("Yes, do it.\n", "Yes, do it.", ""),
    (
        "Yes, do it.\n\nOn Mon, 4 May 2026 at 10:00, Orders via AMTP <amtp-bridge@one.example> wrote:\n> Shall I?\n>\n> Orders\n",
        "Yes, do it.",
        "On Mon, 4 May 2026 at 10:00, Orders via AMTP <amtp-bridge@one.example> wrote:\n> Shall I?\n>\n> Orders",
    ),
    (
        "Ja.\n\nAm 04.05.2026 um 10:00 schrieb Orders via AMTP\n<amtp-bridge@one.example>:\n\n> Soll ich?\n",
        "Ja.",
        "Am 04.05.2026 um 10:00 schrieb Orders via AMTP\n<amtp-bridge@one.example>:\n\n> Soll ich?",
    ),
    (
        "No.\n> Shall I?\n\n-- \nBob\n",
        "No.\n-- \nBob",
        "> Shall I?",
    ),
    (
        "2026-05-04, Orders:\n> Shall I?\n\nYes, please.\n",
        "Yes, please.",
        "2026-05-04, Orders:\n> Shall I?",
    ),
    (
        "> One?\nYes.\n> Two?\nNo.\n",
        "> One?\nYes.\n> Two?\nNo.",
        "",
    ),
    (
        "Fine.\n\n-----Original Message-----\nFrom: Orders\nShall I?\n",
        "Fine.",
        "-----Original Message-----\nFrom: Orders\nShall I?",
    ),
    (
        "Fine.\n\n________________________________\nFrom: Orders via AMTP <amtp-bridge@one.example>\nSent: Monday\nTo: Bob\nSubject: [AMTP] Order\n\nShall I?\n",
        "Fine.",
        "________________________________\nFrom: Orders via AMTP <amtp-bridge@one.example>\nSent: Monday\nTo: Bob\nSubject: [AMTP] Order\n\nShall I?",
    ),
    (
        "Look at this.\n\n---------- Forwarded message ---------\nFrom: Eve\nDate: Monday\nSubject: Order\n\nShall I?\n",
        "Look at this.\n\n---------- Forwarded message ---------\nFrom: Eve\nDate: Monday\nSubject: Order\n\nShall I?",
        "",
    ),
    (
        "> all of it\n> is a quote\n",
        "> all of it\n> is a quote",
        "",
    ),
    (
        "Note the time:\n\n\n\n> 10:00\n",
        "Note the time:",
        "> 10:00",
    ),
    (
        "From: here to there\nit is far.\n",
        "From: here to there\nit is far.",
        "",
    ),
];

#[test]
fn the_quote_is_cut_off_and_nothing_else() {
    for (text, written, quoted) in CASES {
        let (found, quote) = cut((*text).to_owned(), false);
        assert_eq!(found.as_deref(), Some(*written), "{text}");
        assert_eq!(quote.unwrap_or_default(), *quoted, "{text}");
    }
}

#[test]
fn a_quote_of_html_begins_at_its_introduction() {
    let text = "Yes.\nOn Mon, May 4, 2026 at 10:00 AM Orders <a@one.example>\nwrote:\nShall I?\n";
    let (written, quoted) = cut(text.to_owned(), true);
    assert_eq!(written.as_deref(), Some("Yes."));
    assert!(quoted.unwrap().ends_with("wrote:\nShall I?"));
    assert_eq!(cut("On it, at once: 5 pieces\n".to_owned(), true).1, None);
}

#[test]
fn no_text_is_no_text() {
    for text in ["", "\n", " \n\t\n"] {
        assert_eq!(cut(text.to_owned(), false), (None, None));
    }
}

#[test]
fn a_text_longer_than_people_write_stays_whole() {
    let text = format!("Yes.\n{}", "> \n".repeat(200_000));
    assert_eq!(cut(text.clone(), false), (Some(text), None));
}
