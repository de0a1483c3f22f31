//! The dashboard as a person sees it: in a real Chromium, from an empty fleet to a finished rollout and a dead agent.

use std::path::Path;
use std::time::Duration;

use crate::common::{PATIENCE, V2, apply, down, rollout, until_waiting, up};
use anyhow::Context as _;
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::Options;
use e2e::ports::Port;
use e2e::process::{Launch, Process, find_on_path};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// A browser of our own. Dropping it ends it.
struct Browser {
    page: Client,
    _driver: Process,
    _port: Port,
}

impl Browser {
    async fn open(folder: &Path) -> Self {
        let missing = "not on the PATH: install it (Debian: apt-get install chromium chromium-driver)";
        let driver = find_on_path("chromedriver").with_context(|| format!("chromedriver is {missing}")).unwrap();
        let chromium = find_on_path("chromium").with_context(|| format!("chromium is {missing}")).unwrap();
        let port = Port::take().unwrap();
        let launch = Launch::new(driver).arg(format!("--port={}", port.number())).on_loopback_only();
        let process = Process::start(&launch, &folder.join("chromedriver.log")).unwrap();
        let url = format!("http://127.0.0.1:{}", port.number());
        let profile = folder.join("chromium");
        let arguments = [
            "--headless",
            // Tests run as root in CI, where Chromium's sandbox refuses to start.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            // Without these it looks for updates on hosts that are none of our business.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({"args": arguments, "binary": chromium});
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let page = wait_for("chromedriver", PATIENCE, || async {
            Ok(builder.connect(&url).await.map_err(|error| error.to_string()))
        });
        Self { page: page.await.unwrap(), _driver: process, _port: port }
    }

    /// What a script returns.
    async fn run(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.page.execute(script, vec![]).await?)
    }

    /// Waits until a script returns true.
    async fn until(&self, what: &str, script: &str) {
        wait_for(&format!("the page to show {what}"), PATIENCE, || async {
            if self.run(script).await? == json!(true) {
                return Ok(Ok(()));
            }
            Ok(Err(self.page.find(Locator::Css("body")).await?.text().await?))
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_a_rollout_without_a_reload_and_shows_a_killed_agent_as_silent() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("dashboard").unwrap();
    let playground = up(Options::new(folder.path(), 3, 1)).await;
    let browser = Browser::open(folder.path()).await;
    browser.page.goto(&playground.state().dashboard.unwrap()).await.unwrap();
    // Gone after a reload.
    browser.run("window.loadedOnce = true;").await.unwrap();
    browser
        .until(
            "all members heard",
            "return document.querySelectorAll('tr[data-member][data-stale=\"false\"]').length === 3;",
        )
        .await;
    browser.until("no rollout", "return document.querySelectorAll('[data-rollout]').length === 0;").await;

    let strategy = "{canary: {steps: [{setWeight: 10, pause: 3}, {setWeight: 50}], soakSeconds: 1}}";
    apply(&playground, &rollout("checkout", "clusterSelector: {matchLabels: {env: prod}}", V2, strategy)).await;
    browser.until("one member healthy", &card("card.dataset.healthy === '1' && card.dataset.total === '3'")).await;
    until_waiting(&playground, "checkout", "Pause").await;
    browser.until("why it waits", &card("card.textContent.includes('Pause between steps')")).await;
    browser.until("the end", &card("card.dataset.phase === 'Succeeded' && card.dataset.healthy === '3'")).await;
    let updated = format!("return document.querySelectorAll('tr[data-member][data-image=\"{V2}\"]').length === 3;");
    browser.until("every member's new image", &updated).await;

    playground.kill_part("member-2/agent").await.unwrap();
    let row = "const row = document.querySelector('tr[data-member=\"member-2\"]');";
    browser
        .until(
            "member-2 grey",
            &format!("{row} return row.dataset.stale === 'true' && row.textContent.includes('silent');"),
        )
        .await;
    let others = "return document.querySelectorAll('tr[data-member][data-stale=\"false\"]').length === 2;";
    assert_eq!(browser.run(others).await.unwrap(), json!(true), "the others are heard");
    playground.start_part("member-2/agent").await.unwrap();
    browser.until("member-2 back", &format!("{row} return row.dataset.stale === 'false';")).await;

    assert_eq!(browser.run("return window.loadedOnce === true;").await.unwrap(), json!(true), "the page was reloaded");
    let heading = browser.page.find(Locator::Css("h1")).await.unwrap().text().await.unwrap();
    assert_eq!(heading, "playground");
    playground.kill_part("controller-1").await.unwrap();
    browser.until("that the connection is lost", "return !document.getElementById('stale-banner').hidden;").await;
    tokio::time::timeout(Duration::from_secs(10), browser.page.clone().close()).await.unwrap().unwrap();
    down(playground).await;
}

fn card(condition: &str) -> String {
    format!(
        "const card = document.querySelector('[data-rollout=\"checkout\"]'); return card !== null && ({condition});"
    )
}
