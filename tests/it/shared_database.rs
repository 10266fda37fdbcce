//! Several gateways over one PostgreSQL: one is cut off, stands still or dies, or the database does.
//! Nothing promised is lost, none is twice in an inbox, the order of each pair is kept, and the
//! work of the one is taken up by the others.

use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::crash::{kills, report};
use crate::support::many::Many;
use crate::support::{eventually_so, pause};

/// Longer than the hold of a gateway on its shards.
const PAST_THE_LEASE: Duration = Duration::from_secs(20);

/// How often each thing happens.
fn rounds() -> usize {
    kills().div_ceil(50)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_one_cut_off_then_killed() {
    let mut many = Many::new(2).await;
    let mut traffic = many.talk();
    for _ in 0..rounds() {
        traffic.ledger.more_promises(100).await;
        // It still hears its clients, and has to turn them away.
        many.network.route(1, many.database(), false);
        refuses(&many, 0).await;
        traffic.ledger.more_promises(200).await;
        many.arrived(&mut traffic, 1).await;
        many.network.route(1, many.database(), true);
        takes(&many, 0).await;
        // Now it hears nobody.
        many.network.link(1, false);
        traffic.ledger.more_promises(200).await;
        many.arrived(&mut traffic, 1).await;
        many.network.link(1, true);
        takes(&many, 0).await;
        traffic.ledger.more_promises(100).await;
        many.gateways[1].kill();
        traffic.ledger.more_promises(200).await;
        many.arrived(&mut traffic, 0).await;
        many.gateways[1].run().await;
    }
    traffic.ledger.more_promises(100).await;
    let kept = many.close(traffic).await;
    report(&format!("two gateways: {kept} messages promised, all kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_one_stands_still_past_its_lease_and_one_is_killed() {
    let mut many = Many::new(3).await;
    let mut traffic = many.talk();
    for _ in 0..rounds() {
        traffic.ledger.more_promises(100).await;
        many.gateways[0].pause(true);
        pause(PAST_THE_LEASE).await;
        traffic.ledger.more_promises(100).await;
        many.arrived(&mut traffic, 1).await;
        many.gateways[0].pause(false);
        traffic.ledger.more_promises(200).await;
        takes(&many, 0).await;
        many.arrived(&mut traffic, 0).await;
        // Two at once: what the third holds is all there is.
        many.gateways[2].pause(true);
        many.gateways[1].kill();
        traffic.ledger.more_promises(100).await;
        many.arrived(&mut traffic, 0).await;
        many.gateways[2].pause(false);
        many.gateways[1].run().await;
    }
    traffic.ledger.more_promises(200).await;
    let kept = many.close(traffic).await;
    report(&format!(
        "three gateways: {kept} messages promised, all kept"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_promoted_and_work_goes_on() {
    let many = Many::with_standby(2).await;
    let mut traffic = many.talk();
    traffic.ledger.more_promises(200).await;
    many.arrived(&mut traffic, 0).await;
    traffic.ledger.more_promises(100).await;
    many.cluster.kill();
    many.standby.as_ref().unwrap().promote();
    traffic.ledger.more_promises(200).await;
    many.arrived(&mut traffic, 1).await;
    takes(&many, 0).await;
    takes(&many, 1).await;
    let kept = many.close(traffic).await;
    report(&format!(
        "a standby promoted: {kept} messages promised, all kept"
    ));
}

/// Without its standby a database commits nothing that counts. Who loses the connection while a
/// commit waits, and who asks again elsewhere, finds the rows there all the same: neither may be
/// told that they are safe. What is delivered in that time may be delivered again after it, so this
/// is about inboxes here.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_promised_that_only_the_lost_host_knows() {
    let many = Many::with_standby(2).await;
    let standby = many.standby.as_ref().unwrap();
    let mut traffic = many.talk_here();
    traffic.ledger.more_promises(100).await;
    many.network.link(many.database_node() + 1, false);
    many.cluster.disconnect_all();
    pause(Duration::from_secs(1)).await;
    let before = traffic.ledger.promised();
    for _ in 0..3 {
        many.cluster.disconnect_all();
        pause(Duration::from_secs(2)).await;
    }
    assert_eq!(
        traffic.ledger.promised(),
        before,
        "a 202 that only one host knows of"
    );
    many.cluster.kill();
    many.network.link(many.database_node() + 1, true);
    standby.promote();
    traffic.ledger.more_promises(100).await;
    many.arrived(&mut traffic, 1).await;
    let kept = many.close(traffic).await;
    report(&format!(
        "a standby promoted after a cut: {kept} messages promised, all kept"
    ));
}

/// Waits until a gateway turns mail away at once.
async fn refuses(many: &Many, gateway: usize) {
    is_ready(many, gateway, StatusCode::SERVICE_UNAVAILABLE).await;
}

/// Waits until a gateway takes mail.
async fn takes(many: &Many, gateway: usize) {
    is_ready(many, gateway, StatusCode::OK).await;
}

async fn is_ready(many: &Many, gateway: usize, wanted: StatusCode) {
    let caller = many.gateways[gateway].caller();
    let what = format!("gateway {gateway} says {wanted}");
    eventually_so(&what, Duration::from_secs(60), async || {
        let asked = caller.ask(Method::GET, "/ready", None, None);
        let answer = tokio::time::timeout(Duration::from_secs(3), asked).await;
        let answer = answer.ok()?.ok()?;
        (answer.status() == wanted).then_some(())
    })
    .await;
}
