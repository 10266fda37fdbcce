//! Files of mails: kept, and handed out to recipients and by links that they made.

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::{Office, mail};

/// A mail with a page and a large file.
fn with_files(large: &str) -> String {
    let more = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cut\r\n";
    let text = format!(
        "--cut\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n\
         --cut\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"page.html\"\r\n\r\n<script>1</script>\r\n\
         --cut\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=\"large.csv\"\r\n\r\n{large}\r\n--cut--"
    );
    mail("x@sender.test", more, &text)
}

fn path_of(url: &Value) -> String {
    let url = url.as_str().unwrap();
    let place = url.find("/v1/").unwrap();
    url[place..].to_owned()
}

#[tokio::test]
async fn only_recipients_and_their_links_open_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("seal.key");
    std::fs::write(&key, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n").unwrap();
    let key = key.display().to_string();
    let office = Office::open(&[("AMTPD__SECRETS__KEY_FILE", &key)]).await;
    let stranger = office.site.agent("stranger").await;
    let line = format!("{}\r\n", "0123456789,".repeat(80));
    let large = line.repeat(700);
    for _ in 0..2 {
        let said = office.send("x@sender.test", &with_files(large.trim_end()));
        assert!(said.starts_with("250 2.6.0"), "{said}");
    }
    let inbox = office.site.inbox(&office.agent).await;
    assert_eq!(inbox.len(), 1, "the same mail comes once");
    let files = inbox[0]["attachments"].as_array().unwrap();
    assert_eq!(files[0]["filename"], "page.html");
    assert_eq!(files[1]["size"], large.trim_end().len());
    let caller = office.site.caller();
    let get = async |path: &str, key: Option<&str>| {
        caller.ask(Method::GET, path, key, None).await.unwrap()
    };
    let path = path_of(&files[1]["url"]);
    let answer = get(&path, Some(&office.agent.key)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body().as_ref(), large.trim_end().as_bytes());
    for (key, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(stranger.key.as_str()), StatusCode::NOT_FOUND),
        (Some("ak_x_y"), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(get(&path, key).await.status(), status);
    }
    let unknown = get("/v1/blobs/none", Some(&office.agent.key)).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);

    let page = path_of(&files[0]["url"]);
    let asked = |key: String| {
        let (site, path) = (&office.site, format!("{page}/links"));
        async move { site.call(Method::POST, &path, Some(&key), None).await }
    };
    assert_eq!(asked(stranger.key.clone()).await.0, StatusCode::NOT_FOUND);
    let (status, link) = asked(office.agent.key.clone()).await;
    assert_eq!(status, StatusCode::OK, "{link}");
    let link = path_of(&link["url"]);
    let answer = get(&link, None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body().as_ref(), b"<script>1</script>");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-disposition"), "attachment");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"));
    let later = link.replace("expires=1", "expires=2");
    let other = link.replace(
        page.rsplit('/').next().unwrap(),
        path.rsplit('/').next().unwrap(),
    );
    let cut = link.rsplit_once('&').unwrap().0.to_owned();
    for forged in [
        later,
        other,
        cut,
        format!("{page}?expires=9999999999&signature=AAAA"),
    ] {
        assert_eq!(
            get(&forged, None).await.status(),
            StatusCode::FORBIDDEN,
            "{forged}"
        );
    }
}
