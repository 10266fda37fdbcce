//! Secrets stay where they belong: with everything that is secret known, and shown in wrong places,
//! none of it stands in the log, an error, a metric, a list or the database.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::support::behaviour::Behaviour;
use crate::support::peer::ScriptedPeer;
use crate::support::site::{FEATURES, Site, World};
use crate::support::webhook::WebhookTarget;
use crate::support::{Agent, amtpd, eventually, words};

const SOON: Duration = Duration::from_secs(20);
const HOOK_SECRET: &str = "Bearer hook-secret-5c9e1d27a04b";
const PEER_SECRET: &str = "Bearer peer-secret-e83b6f1c92d5";

/// What is secret: by what it is, and the text that may stand nowhere.
type Secrets = Vec<(&'static str, String)>;

/// What of a key is secret: all of it, and what follows its public id.
fn halves(name: &'static str, key: &str) -> Secrets {
    // `ak_<id>_<secret>`, and the secret may hold that sign too.
    let half = key.splitn(3, '_').nth(2).unwrap_or(key);
    vec![(name, half.to_owned())]
}

/// A gateway with an agent whose webhook fails, and a peer that refuses.
struct Scene {
    world: World,
    site: Site,
    target: WebhookTarget,
    _peer: ScriptedPeer,
    alice: Agent,
    secrets: Secrets,
    /// Credentials as they are shown.
    shown: Vec<String>,
}

fn failing(code: u16) -> Behaviour {
    Behaviour::Status {
        code,
        content_type: "text/plain".to_owned(),
        body: String::new(),
        headers: Vec::new(),
    }
}

impl Scene {
    async fn set() -> Self {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
        let peers = "{b.test: {allow_private: true, authorization: 'env:PEER_SECRET'}}";
        let variables = [
            ("AMTPD__PEERS", peers),
            ("PEER_SECRET", PEER_SECRET),
            ("AMTPD__LOG__LEVEL", "trace"),
        ];
        let site = world.start("a.test", "127.0.3.1", &variables).await;
        let address = "127.0.3.2:0".parse().unwrap();
        let peer = ScriptedPeer::start(address, &world.certificate("b.test"));
        peer.always(failing(401));
        world.publish("b.test", peer.address(), FEATURES);
        let target = WebhookTarget::start_plain("127.0.3.1:0".parse().unwrap());
        target.always(failing(500));

        let alice = site.agent("alice").await;
        let headers = json!({ "headers": { "authorization": HOOK_SECRET } });
        let (hook, whsec) = site
            .push_agent("hook", &target.url("127.0.3.1"), headers)
            .await;
        let form = json!({ "name": "olga", "role": "auditor" });
        let (_, staff) = site
            .admin(Method::POST, "/v1/admin/staff", Some(form))
            .await;
        let staff = staff["staff"]["key"].as_str().unwrap().to_owned();
        let (status, token) = site
            .call(Method::POST, "/v1/auth/token", Some(&alice.key), None)
            .await;
        assert_eq!(status, StatusCode::OK, "{token}");
        let token = token["access_token"].as_str().unwrap().to_owned();
        let sealing = std::fs::read_to_string(site.file("secrets.key")).unwrap();
        let form = json!({ "names": "new-*" });
        let (_, enrolment) = site
            .admin(Method::POST, "/v1/admin/enrolment-tokens", Some(form))
            .await;
        let enrolment = enrolment["enrolment_token"]["token"].as_str().unwrap();

        let mut secrets = halves("the admin key", site.admin_key());
        secrets.extend(halves("an agent's key", &alice.key));
        secrets.extend(halves("a pushed agent's key", &hook.key));
        secrets.extend(halves("a staff key", &staff));
        secrets.extend(halves("an enrolment token", enrolment));
        let signature = token.rsplit_once('.').unwrap().1;
        secrets.push(("a token", signature.to_owned()));
        secrets.push(("a webhook's secret", whsec.replace("whsec_", "")));
        secrets.push(("a webhook's header", HOOK_SECRET.replace("Bearer ", "")));
        secrets.push(("a peer's credential", PEER_SECRET.replace("Bearer ", "")));
        secrets.push(("the sealing key", sealing.trim().to_owned()));
        let shown = vec![
            site.admin_key().to_owned(),
            alice.key.clone(),
            staff,
            enrolment.to_owned(),
            token,
        ];
        Self {
            world,
            site,
            target,
            _peer: peer,
            alice,
            secrets,
            shown,
        }
    }

    /// Shows each credential where it does not belong. Answers what was answered, whole.
    async fn misuse(&self) -> String {
        let mut answers = String::new();
        for credential in &self.shown {
            let text = credential.as_str();
            let altered = format!("{text}x");
            let asked = self.site.caller();
            let path = "/v1/admin/audit";
            let asked = asked.ask(Method::GET, path, Some(&altered), None).await;
            answers += &whole(asked.unwrap());
            for (method, path, key, body) in self.wrong_places(text) {
                let asked = self.site.caller().ask(method, &path, Some(key), body).await;
                answers += &whole(asked.unwrap());
            }
            for (name, value) in [
                ("x-admin-key", text.to_owned()),
                ("authorization", format!("Basic {}", STANDARD.encode(text))),
                ("authorization", text.to_owned()),
                ("cookie", format!("key={text}")),
                ("x-request-id", text.to_owned()),
                ("content-type", text.to_owned()),
            ] {
                let url = format!(
                    "https://{}:{}/v1/messages",
                    World::host("a.test"),
                    self.site.https().port()
                );
                let request = Request::post(url).header(name, value);
                let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
                answers += &whole(self.site.caller().client.send(request).await.unwrap());
            }
        }
        answers
    }

    /// Requests with a credential in the path, the query, the body; and as one of another kind.
    fn wrong_places<'a>(&'a self, text: &'a str) -> Vec<(Method, String, &'a str, Option<Value>)> {
        let admin = self.site.admin_key();
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        let agent = format!("/v1/admin/agents/{}", self.alice.address);
        let form = |member: &str| Some(json!({ member: text }));
        vec![
            (
                get.clone(),
                format!("/v1/messages/{text}"),
                &self.alice.key,
                None,
            ),
            (
                get.clone(),
                format!("/v1/messages?sender={text}"),
                &self.alice.key,
                None,
            ),
            (get.clone(), "/v1/admin/audit".to_owned(), text, None),
            (get.clone(), format!("/v1/inbox/{text}"), text, None),
            (get.clone(), format!("/{text}"), text, None),
            (
                get,
                format!("/v1/admin/audit?cursor={text}&chain={text}"),
                admin,
                None,
            ),
            (
                delete.clone(),
                format!("/v1/admin/staff/{text}"),
                admin,
                None,
            ),
            (delete.clone(), format!("{agent}/keys/{text}"), admin, None),
            (delete, format!("/v1/admin/agents/{text}"), admin, None),
            (
                post.clone(),
                format!("{agent}/rotate-key"),
                admin,
                form("key_id"),
            ),
            (
                post.clone(),
                format!("{agent}/rotate-key"),
                admin,
                form("overlap"),
            ),
            (
                post.clone(),
                "/v1/admin/staff".to_owned(),
                admin,
                form("role"),
            ),
            (
                post.clone(),
                "/v1/admin/agents".to_owned(),
                admin,
                form("address"),
            ),
            (
                post.clone(),
                "/v1/admin/agents".to_owned(),
                admin,
                form("delivery_mode"),
            ),
            (
                post.clone(),
                "/v1/auth/token".to_owned(),
                text,
                form("grant_type"),
            ),
            (
                post.clone(),
                "/v1/agents/register".to_owned(),
                text,
                form("address"),
            ),
            (post, "/v1/messages".to_owned(), text, form("sender")),
        ]
    }

    /// Everything that others than the one it is for can see, by where it is.
    async fn seen(&self) -> Vec<(&'static str, Vec<u8>)> {
        let get = async |path: &str| self.site.admin(Method::GET, path, None).await.1;
        let audit = get("/v1/admin/audit?limit=1000").await.to_string();
        let agents = get("/v1/admin/agents").await.to_string();
        let keys = get("/v1/admin/staff").await.to_string();
        let dead = get("/v1/admin/deliveries").await.to_string();
        let metrics = metrics(&self.site).await;
        let output = amtpd()
            .args(["workers", "--json", "--resolve", "127.0.3.1", "--gateway"])
            .arg(self.site.admin_url())
            .arg("--ca-file")
            .arg(self.world.ca.pem_path())
            .env("AMTP_KEY", self.site.admin_key())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", words(&output));
        let mut seen = vec![
            ("the log", self.site.log().into_bytes()),
            ("the audit log", audit.into_bytes()),
            ("the list of agents", agents.into_bytes()),
            ("the list of staff", keys.into_bytes()),
            ("the queue", dead.into_bytes()),
            ("/metrics", metrics.into_bytes()),
            ("amtpd workers", words(&output).into_bytes()),
        ];
        for name in ["data/amtpd.db", "data/amtpd.db-wal"] {
            seen.push((
                "the database",
                std::fs::read(self.site.file(name)).unwrap_or_default(),
            ));
        }
        seen
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the test is somebody on the network"
)]
async fn metrics(site: &Site) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(site.ops()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("amtp_"), "{text}");
    text
}

/// An answer with its head.
fn whole(answer: hyper::Response<Bytes>) -> String {
    let headers = format!("{:?}", answer.headers());
    format!("{headers}{}\n", String::from_utf8_lossy(answer.body()))
}

/// The forms in which a text may stand somewhere.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![
        secret.as_bytes().to_vec(),
        STANDARD
            .encode(secret)
            .trim_end_matches('=')
            .as_bytes()
            .to_vec(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ];
    // What is binary and shown in base64.
    if let Ok(bytes) = STANDARD.decode(secret)
        && bytes.len() >= 16
    {
        forms.push(bytes);
    }
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_an_answer_a_metric_or_the_database() {
    let scene = Scene::set().await;
    let to = ["hook@a.test", "bob@b.test"];
    scene.site.send(&scene.alice, &to, json!("hello")).await;
    let asked = || (!scene.target.requests().is_empty()).then_some(());
    eventually("the webhook is called", SOON, asked).await;
    eventually("the peer refuses", SOON, || {
        scene.site.log().contains("b.test").then_some(())
    })
    .await;
    let answers = scene.misuse().await;
    let mut seen = scene.seen().await;
    seen.push(("an answer", answers.into_bytes()));
    let mut found = Vec::new();
    for (place, bytes) in &seen {
        assert!(!bytes.is_empty() || *place == "the database", "{place}");
        for (name, secret) in &scene.secrets {
            for form in forms(secret) {
                let at = bytes.windows(form.len()).position(|window| window == form);
                if let Some(at) = at {
                    let around = at.saturating_sub(300)..(at + form.len() + 40).min(bytes.len());
                    let around = String::from_utf8_lossy(&bytes[around]).into_owned();
                    found.push(format!("{name} in {place}: …{around}…"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
