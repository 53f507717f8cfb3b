"""The owner's page in a browser: by keyboard, without scripts, on a phone, and readable."""

from __future__ import annotations

import pytest

from bitmm.xwrap.client import XWrap
from tests.server.pages.browser import NoBrowser, chromium, set_dark, set_scripts, set_size, sign_in, wait_for
from tests.server.pages.world import VIEWS, populate

#: Texts with their ground: what the contrast is computed of. Colours are those that the browser has computed.
CONTRASTS = """
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = parse(getComputedStyle(node).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const has_text = [...node.childNodes].some(each => each.nodeType === 3 && each.textContent.trim());
  if (!has_text || !node.getClientRects().length) continue;
  const [one, two] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
  found.push([(one + 0.05) / (two + 0.05), node.textContent.trim().slice(0, 40)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""


@pytest.fixture(scope="module")
def browser():
    try:
        with chromium() as browser:
            browser.set_script_timeout(10)
            yield browser
    except NoBrowser as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def world(serving, browser):
    """A server with an account that has something in every view, to which the browser is signed in."""
    with serving(reconcile_grace_seconds=9999) as server:
        auth, id = populate(server, days=40)
        set_size(browser, 1100)
        sign_in(browser, server.url, auth)
        yield server, auth, id


def open_view(browser, world, name):
    server, _auth, id = world
    browser.get(server.url + VIEWS[name].replace("ID", str(id)).replace("kraken", "paper"))


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_each_view_fits_a_phone_and_can_be_read_light_and_dark(browser, world):
    for name in VIEWS:
        open_view(browser, world, name)
        for dark in (False, True):
            set_dark(browser, dark=dark)
            contrasts = browser.execute_script(CONTRASTS)
            assert len(contrasts) > 15
            assert contrasts[0][0] >= 4.5, (name, dark, contrasts[:3])
        set_size(browser, 360)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 360, name
        assert browser.execute_script(CONTRASTS)[0][0] >= 4.5
        set_size(browser, 1100)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 1100, name
    # A style or an image that the policy refused would be told here.
    assert [entry["message"] for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def test_an_order_is_canceled_by_keyboard_alone_and_the_focus_is_seen(browser, world):
    from selenium.webdriver.common.keys import Keys

    server, auth, id = world
    backend = XWrap(server.url).backend(id, *auth)
    order = backend.buy("USD", "BTC", "0.01", price="9500", key="by keyboard")["id"]
    open_view(browser, world, "orders")
    for _ in range(40):
        press(browser, Keys.TAB)
        focused = browser.switch_to.active_element
        style = focused.value_of_css_property("outline-style")
        assert style == "solid", focused.text
        if focused.get_attribute("aria-label") == f"Cancel order {order}":
            break
    press(browser, Keys.ENTER)
    assert wait_for(browser, ".notice.good").text == f"Order {order} is canceled."
    assert backend.order(order)["status"] == "canceled"


def test_the_skip_link_leads_past_the_views(browser, world):
    from selenium.webdriver.common.keys import Keys

    open_view(browser, world, "keys")
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    press(browser, Keys.ENTER)
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("aria-label").startswith("Change ")


#: It says whether scripts run.
PROBE = "data:text/html,<p>off</p><script>document.querySelector('p').textContent = 'on'</script>"


def test_with_scripts_switched_off_a_person_signs_in_by_keyboard_acts_and_signs_out(browser, world):
    from selenium.webdriver.common.keys import Keys

    server, _auth, _id = world
    auth = server.account("bob")
    id = server.registration(auth)
    browser.delete_all_cookies()
    set_scripts(browser, on=False)
    browser.get(PROBE)
    assert browser.find_element("tag name", "p").text == "off"
    browser.get(server.url)
    # The first field has the focus.
    press(browser, auth[0], Keys.TAB, auth[1], Keys.ENTER)
    assert wait_for(browser, ".who span").text == "bob"
    assert browser.title == "Overview · XWrap"
    browser.get(f"{server.url}/page/keys/{id}")
    browser.find_element("css selector", "button.danger").click()
    assert "is off" in wait_for(browser, ".notice.good").text
    [cookie] = browser.get_cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("xwrap", True, "Strict")
    browser.find_element("css selector", "button.plain").click()
    wait_for(browser, "#password")
    browser.get(f"{server.url}/page/keys")
    assert browser.title == "Sign in · XWrap"
    assert browser.current_url == f"{server.url}/"
