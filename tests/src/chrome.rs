//! A real browser without a window: Debian's chromium, told what to do over WebDriver.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use crate::node::free;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How long it may take to start, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long a page may take to show something that it is going to show.
const SHOW: Duration = Duration::from_secs(30);
/// How long it may take to end.
const CLOSE: Duration = Duration::from_secs(10);

/// A browser with one window; it ends when this is dropped.
#[derive(Debug)]
pub struct Chrome {
    runtime: Runtime,
    client: Client,
    _driver: Driver,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Of the window, in CSS pixels.
    pub width: u32,
    /// The reader wants dark pages.
    pub dark: bool,
}

/// What chromedriver knows beyond WebDriver.
#[derive(Debug)]
struct Beyond(&'static str, Value);

impl WebDriverCompatibleCommand for Beyond {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> std::result::Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

impl Chrome {
    /// Starts one that takes any certificate, with a directory of its own below `parent`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(parent: &Path) -> Result<Self> {
        let [address] = free()?;
        let log = File::create(parent.join("chromedriver.log"))?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let driver = match driver {
            Ok(driver) => Driver(driver),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Trouble::skip(
                    "chromedriver is not installed (Debian's package chromium-driver)",
                ));
            }
            Err(error) => return Err(error).context("chromedriver"),
        };
        wait::until("chromedriver to listen", START, || TcpStream::connect(address).is_ok())?;
        let profile = parent.join("chromium");
        fs::create_dir_all(&profile)?;
        // Inside a container nothing but the container shields it, and it opens our own pages alone.
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted: Capabilities = wanted.as_object().cloned().unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(async {
            let (mut making, at) = (ClientBuilder::new(HttpConnector::new()), format!("http://{address}"));
            tokio::time::timeout(START, making.capabilities(wanted).connect(&at)).await
        });
        let client = client.context("chromium")?.context("chromium")?;
        Ok(Self { runtime, client, _driver: driver })
    }

    /// Goes to a page.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn open(&self, url: &str) -> Result {
        self.runtime.block_on(self.client.goto(url)).context(url)
    }

    /// Where it is.
    ///
    /// # Errors
    /// When it does not say.
    pub fn url(&self) -> Result<Url> {
        Ok(self.runtime.block_on(self.client.current_url())?)
    }

    /// The text that a person reads in the first element of a CSS selector.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, selector: &str) -> Result<String> {
        self.runtime.block_on(async {
            let element = self.client.find(Locator::Css(selector)).await?;
            Ok(element.text().await?)
        })
    }

    /// Waits until a person reads something in an element.
    ///
    /// # Errors
    /// When that does not come.
    pub fn await_text(&self, selector: &str, wanted: &str) -> Result {
        let mut last = String::new();
        let seen = wait::until(&format!("{wanted:?} in {selector}"), SHOW, || {
            last = self.text(selector).unwrap_or_else(|trouble| trouble.to_string());
            last.contains(wanted)
        });
        seen.context(format!("it shows: {last}"))
    }

    /// Types into a field that is empty.
    ///
    /// # Errors
    /// When there is none.
    pub fn fill(&self, selector: &str, text: &str) -> Result {
        self.runtime.block_on(async {
            self.client.find(Locator::Css(selector)).await.context(selector)?.send_keys(text).await?;
            Ok(())
        })
    }

    /// Clicks.
    ///
    /// # Errors
    /// When there is nothing to click at.
    pub fn click(&self, selector: &str) -> Result {
        self.runtime.block_on(async {
            self.client.find(Locator::Css(selector)).await.context(selector)?.click().await?;
            Ok(())
        })
    }

    /// Clicks at something that asks back, and says yes.
    ///
    /// # Errors
    /// When there is nothing to click at, or it does not ask.
    pub fn click_and_confirm(&self, selector: &str) -> Result {
        self.click(selector)?;
        self.runtime.block_on(self.client.accept_alert()).context(selector)
    }

    /// What a script in the page returns.
    ///
    /// # Errors
    /// When it fails.
    pub fn evaluate(&self, script: &str) -> Result<Value> {
        Ok(self.runtime.block_on(self.client.execute(script, Vec::new()))?)
    }

    /// The cookies that it would send here, as its tools describe them.
    ///
    /// # Errors
    /// When it does not say.
    pub fn cookies(&self) -> Result<Vec<Value>> {
        let told = self.tool("Network.getCookies", json!({}))?;
        Ok(told["cookies"].as_array().cloned().unwrap_or_default())
    }

    /// What the browser complained about since it was last asked: scripts that failed, and what a policy forbade.
    ///
    /// # Errors
    /// When it does not say.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let told = self.beyond("se/log", json!({ "type": "browser" }))?;
        let lines = told.as_array().cloned().unwrap_or_default();
        let severe = lines.iter().filter(|line| line["level"] == "SEVERE");
        Ok(severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Looks at pages so from now on.
    ///
    /// # Errors
    /// When it cannot.
    pub fn look(&self, look: Look) -> Result {
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tool("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        self.size(look.width, 800)
    }

    fn size(&self, width: u32, height: u64) -> Result {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tool("Emulation.setDeviceMetricsOverride", size).map(drop)
    }

    /// Makes a picture of the whole page, as PNG.
    ///
    /// # Errors
    /// When it cannot.
    pub fn shoot(&self, look: Look) -> Result<Vec<u8>> {
        self.look(look)?;
        let height = self.evaluate("return document.documentElement.scrollHeight")?.as_u64().unwrap_or(800);
        self.size(look.width, height.clamp(600, 6_000))?;
        let shot = self.tool("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = shot["data"].as_str().ok_or_else(|| Trouble::new("there is no picture"))?;
        BASE64_STANDARD.decode(data).context("the picture")
    }

    fn tool(&self, name: &str, parameters: Value) -> Result<Value> {
        self.beyond("goog/cdp/execute", json!({ "cmd": name, "params": parameters }))
    }

    fn beyond(&self, path: &'static str, asked: Value) -> Result<Value> {
        self.runtime.block_on(self.client.issue_cmd(Beyond(path, asked))).context(path)
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        // The browser ends with its session; what is left of it then is the driver.
        let client = self.client.clone();
        drop(self.runtime.block_on(async { tokio::time::timeout(CLOSE, client.close()).await }));
    }
}

/// The process that drives a browser; it ends when this is dropped.
#[derive(Debug)]
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
