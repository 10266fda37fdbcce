//! Any bytes as what a mail client says: the dialogue never panics, holds no more than it may, and says
//! the same however the bytes are cut.

#![no_main]

use std::sync::Arc;

use amtpd::endpoint::smtp::dialogue::{Dialogue, DialogueRules, Reply, Step};
use amtpd::protocol::Domain;
use libfuzzer_sys::fuzz_target;

const SIZE: usize = 2_000;

fuzz_target!(|data: &[u8]| {
    let Some((cut, script)) = data.split_first() else {
        return;
    };
    let whole = talk(script, script.len().max(1));
    let pieces = talk(script, usize::from(*cut) + 1);
    assert_eq!(whole, pieces);
});

fn rules() -> Arc<DialogueRules> {
    Arc::new(DialogueRules {
        host: "mx.our.example".to_owned(),
        main_domain: Domain::parse("our.example").expect("a domain"),
        size: SIZE,
        recipients: 5,
        tls: false,
        faults: 10,
        commands: 200,
    })
}

fn talk(script: &[u8], size: usize) -> String {
    let (mut dialogue, greeting) = Dialogue::new(rules());
    let mut said = greeting.text();
    for piece in script.chunks(size) {
        dialogue.feed(piece);
        loop {
            let reply = match dialogue.step() {
                Step::More => break,
                Step::Reply(reply) => reply,
                Step::Recipient(address) => {
                    let taken = address.local().starts_with('a');
                    let refusal = Reply::new(550, "5.1.1", "Nobody");
                    dialogue.decide(if taken { Ok(()) } else { Err(refusal) })
                }
                Step::Mail(mail) => {
                    assert!(!mail.recipients.is_empty() && mail.recipients.len() <= 5);
                    assert!(mail.content.len() <= SIZE && is_clean(&mail.content));
                    said += &format!("{mail:?}");
                    dialogue.answer(Reply::new(250, "2.6.0", "Taken"))
                }
                Step::Secure(_) => unreachable!("TLS is not offered"),
                Step::Close(reply) => return said + &reply.text(),
            };
            let text = reply.text();
            assert!(text.is_ascii() && text.ends_with("\r\n"));
            said += &text;
        }
        assert!(dialogue.held() <= SIZE);
    }
    said
}

/// Whether every line ends with CRLF and nothing else ends one.
fn is_clean(content: &[u8]) -> bool {
    let text = content.iter().zip(content.iter().skip(1));
    let pairs = text.filter(|(one, other)| (**one == b'\r') != (**other == b'\n'));
    let lone_start = content.first() == Some(&b'\n');
    pairs.count() == 0 && !lone_start && content.last() != Some(&b'\r') && !content.contains(&0)
}
