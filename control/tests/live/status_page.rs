//! Status page in a browser: it follows the appliance, and can be read by everybody.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::browser::Browser;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::Setup;

const BACKENDS: usize = 2;
/// Page of the appliance of a lab, in its own namespace.
const PAGE: &str = "http://127.0.0.1:9477/";
const HEADING: &str = "return document.querySelector('h1').textContent";
/// State of the backend that fails, and the color of its words.
const STATE: &str = "const cell = document.querySelector('tr[data-key=\"backend v4/b1\"] td.state');
    return cell.textContent + ' ' + getComputedStyle(cell).color";

/// Finds texts that do not stand out from what is behind them (WCAG 2.2, 1.4.3), and counts all.
const CONTRAST: &str = r"
    const parts = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = (color) => {
      const [r, g, b] = parts(color).slice(0, 3).map((byte) => byte / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if ((parts(color)[3] ?? 1) > 0) return color;
      }
      return 'rgb(255, 255, 255)';
    };
    document.querySelectorAll('details').forEach((details) => { details.open = true; });
    const weak = [];
    let seen = 0;
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const element = walk.currentNode.parentElement;
      const words = walk.currentNode.data.trim();
      if (!words || !element.checkVisibility()) continue;
      seen += 1;
      for (const pseudo of [null, '::before']) {
        const [a, b] = [getComputedStyle(element, pseudo).color, ground(element)].map(luminance).sort((a, b) => b - a);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) weak.push(`${words}: ${contrast.toFixed(2)}`);
      }
    }
    return { seen, weak };";

/// Tells where the focus is, and how that is shown.
const FOCUS: &str = "const at = document.activeElement, style = getComputedStyle(at);
    return { what: `${at.tagName} ${at.getAttribute('href') || at.textContent.slice(0, 40)}`,
             shown: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 }";

/// Lists what the keyboard must reach.
const REACHABLE: &str = "return [...document.querySelectorAll('a, summary, [tabindex=\"0\"]')]
    .filter((at) => at.checkVisibility())
    .map((at) => `${at.tagName} ${at.getAttribute('href') || at.textContent.slice(0, 40)}`)";

fn wait_for(browser: &Browser<'_>, what: &str, is: impl Fn(&Browser<'_>) -> bool) {
    let seen = within(PATIENCE, || is(browser).then_some(()));
    assert!(seen.is_some(), "{what}: {}", browser.text("return document.body.innerText"));
}

fn has_no_console_error(browser: &Browser<'_>) {
    assert_eq!(browser.console(), [""; 0], "on the console");
}

/// Checks that whoever sees little, or has no mouse, can use the page.
fn can_be_read_by_everybody(browser: &Browser<'_>) {
    for scheme in ["light", "dark"] {
        browser.color_scheme(scheme);
        let contrast = browser.run(CONTRAST);
        assert_eq!(contrast["weak"], Value::Array(Vec::new()), "in the {scheme}");
        assert!(contrast["seen"].as_u64() > Some(60), "{contrast}");
    }
    let ground = |scheme| {
        browser.color_scheme(scheme);
        browser.text("return getComputedStyle(document.documentElement).backgroundColor")
    };
    assert_ne!(ground("dark"), ground("light"));

    for width in [360, 768, 1_280, 1_920] {
        browser.resize(width);
        let page = browser.run("return document.documentElement.scrollWidth");
        assert!(page.as_u64() <= Some(width.into()), "{width} pixels: the page has {page}");
    }
    let wide: Vec<String> = serde_json::from_value(browser.run(REACHABLE)).expect("it lists words");
    assert!(wide.len() > 10, "{wide:?}");
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0);");
    let mut reached = Vec::new();
    for _ in 0..wide.len() {
        browser.press_tab();
        let focus = browser.run(FOCUS);
        assert_eq!(focus["shown"], true, "{focus}");
        reached.push(focus["what"].as_str().expect("it is words").to_owned());
    }
    assert_eq!(reached, wide, "in the order of the page");
}

#[test]
fn the_page_follows_the_appliance_and_can_be_read_by_everybody() {
    let lab = Lab::new(1, BACKENDS);
    let mut backends = Backend::all(&lab, BACKENDS);
    let mut appliance = Appliance::start(&lab, 0, &Setup::of(BACKENDS));
    let browser = Browser::start(&lab, lab.appliance(0));
    browser.open(PAGE);
    assert_eq!((browser.title().as_str(), &*browser.text(HEADING)), ("OK · Guideway", "OK"));
    browser.run("window.mark = 'never loaded again'");
    lab.curl(Vip::OnLink.web(Family::V4), 50);

    // Without a reload: the time goes on, and traffic is shown.
    let time = "return document.querySelector('time').textContent";
    let first = browser.text(time);
    wait_for(&browser, "a later time", |browser| browser.text(time) != first);
    let rate = "return document.querySelector('.sums dd').textContent";
    wait_for(&browser, "a rate", |browser| browser.text(rate) != "0");
    assert!(browser.text(STATE).starts_with("healthy "));

    backends[1].web.stop();
    wait_for(&browser, "a backend in red", |browser| browser.text(STATE) == "UNHEALTHY rgb(179, 20, 29)");
    wait_for(&browser, "the line of status", |browser| {
        let line = appliance.must(&["status"]).lines().next().map(str::to_owned);
        line.as_ref().is_some_and(|line| line.starts_with("DEGRADED: "))
            && Some(browser.text(HEADING)) == line
    });
    assert!(browser.title().starts_with("DEGRADED"), "{}", browser.title());
    can_be_read_by_everybody(&browser);
    backends[1].web.start_again(&lab, 1, crate::lab::web_server::TlsPort::Tls);
    wait_for(&browser, "recovery", |browser| browser.text(HEADING) == "OK");
    assert_eq!(browser.text("return window.mark"), "never loaded again");
    has_no_console_error(&browser);

    // Rows that were opened stay open, and the focus stays where it is.
    let opened = "return String(document.querySelector('tr[data-key=\"backend v4/b0\"] details').open)";
    browser.run("const at = document.querySelector('tr[data-key=\"backend v4/b0\"] summary'); at.parentElement.open = true; at.focus();");
    let second = browser.text(time);
    wait_for(&browser, "a later time", |browser| browser.text(time) != second);
    assert_eq!(browser.text(opened), "true");
    assert_eq!(browser.text("return document.activeElement.textContent"), "b0");

    // A page that nobody looks at does not ask.
    let count = "return String(performance.getEntriesByType('resource').filter((one) => one.name.includes('status.json')).length)";
    browser.run(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });
                 document.dispatchEvent(new Event('visibilitychange')); performance.clearResourceTimings();",
    );
    let mark = browser.text(time);
    lab.curl(Vip::OnLink.web(Family::V4), 10);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!((browser.text(time), browser.text(count).as_str()), (mark, "0"));
    browser.run(
        "Object.defineProperty(document, 'hidden', { value: false, configurable: true });
                 document.dispatchEvent(new Event('visibilitychange'));",
    );
    wait_for(&browser, "a question at once", |browser| browser.text(count) != "0");

    appliance.kill();
    let stale =
        "return document.getElementById('stale').hidden ? '' : document.getElementById('stale').textContent";
    wait_for(&browser, "that it is stale", |browser| browser.text(stale).starts_with("STALE since "));
    appliance.restart();
    wait_for(&browser, "that it is not", |browser| browser.text(stale).is_empty());

    // Without its script, the page is whole.
    browser.allow_scripts(false);
    browser.open(PAGE);
    browser.allow_scripts(true);
    assert_eq!(browser.text(HEADING), "OK");
    assert!(browser.text(STATE).starts_with("healthy "));
}

#[test]
fn a_page_with_a_token_is_for_those_who_know_it() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let token = "correct-horse-battery";
    let path = lab.directory().join("token");
    fs::write(&path, format!("{token}\n")).expect("the lab's directory can be written");
    let setup = Setup { further: metrics_with(&path), ..Setup::of(1) };
    let _appliance = Appliance::start(&lab, 0, &setup);
    let browser = Browser::start(&lab, lab.appliance(0));
    browser.open(PAGE);
    assert_eq!(browser.run("return document.querySelector('h1.good')"), Value::Null);
    browser.console();
    browser.open(&format!("http://anybody:{token}@127.0.0.1:9477/"));
    assert_eq!(browser.text(HEADING), "OK");
    let time = "return document.querySelector('time').textContent";
    let first = browser.text(time);
    wait_for(&browser, "a later time", |browser| browser.text(time) != first);
    has_no_console_error(&browser);
}

fn metrics_with(token: &Path) -> String {
    format!("[metrics]\ntoken_file = \"{}\"\n", token.display())
}
