"""The hub's page in a real browser: a host reports, a person changes a value, and it heals."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.merged import MergedProvider
from felhom_agent.desired.provider import EmptyProvider
from felhom_agent.devhub import DevHub
from tests.conftest import Site
from tests.hub.client import request
from tests.hub.conftest import STATE, Begin

pytestmark = pytest.mark.browser

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-quic",
         "--window-size=1100,900")  # fmt: skip


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (*QUIET, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(word)
    service = webdriver.ChromeService(DRIVER, log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


def as_operator(hub: DevHub, path: str) -> str:
    place = urlsplit(hub.url).netloc
    return f"http://operator:{hub.operator_key}@{place}{path}"


def test_a_host_is_seen_and_a_value_changed_on_the_page_heals_a_guest(
    site: Site, hub: DevHub, begin: Begin, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    round_ = begin(hub.url, hub.store.enroll("pve1"))
    browser.get(as_operator(hub, "/"))
    assert "never" in browser.find_element(By.ID, "host-pve1").text
    hub.store.desire("pve1", STATE)
    with assembled(site.config(), site.clock) as parts:
        daemon = Daemon(site.config(), parts)
        daemon._intent.provider = MergedProvider(
            EmptyProvider(), round_.provider, Claims(tmp_path / "state")
        )
        round_.loop._facts = lambda: replace(
            daemon.facts(), generation=round_.provider.kept.generation
        )
        round_.loop.round()
        assert daemon.run_pass()
        round_.loop.round()

        browser.get(as_operator(hub, "/"))
        row = browser.find_element(By.ID, "host-pve1")
        assert "generation 1 in force" in row.text
        assert "1 converged" in row.text
        row.find_element(By.TAG_NAME, "a").click()
        editor = browser.find_element(By.ID, "state")
        assert json.loads(editor.get_attribute("value") or "") == STATE
        editor.clear()
        editor.send_keys(json.dumps({"guest": {"100": {"config": {"description": "From afar"}}}}))
        browser.find_element(By.ID, "save").click()
        WebDriverWait(browser, 20).until(lambda b: "generation 2, " in b.page_source)

        round_.loop.round()
        assert daemon.run_pass()
        assert str(site.world.config(100)["description"]).strip() == "From afar"
        if picture := os.environ.get("SCREENSHOT"):
            _picture(browser, hub, round_.loop.round, Path(picture))


def _picture(browser: webdriver.Chrome, hub: DevHub, report: object, path: Path) -> None:
    assert callable(report)
    report()
    browser.get(as_operator(hub, "/hosts/pve1"))
    browser.save_screenshot(str(path))


def test_what_is_no_json_is_not_saved_and_not_lost(hub: DevHub, browser: webdriver.Chrome) -> None:
    hub.store.enroll("pve1")
    browser.get(as_operator(hub, "/hosts/pve1"))
    editor = browser.find_element(By.ID, "state")
    editor.clear()
    editor.send_keys('{"guest": ')
    browser.find_element(By.ID, "save").click()
    error = WebDriverWait(browser, 20).until(lambda b: b.find_element(By.ID, "error"))
    assert "This was not saved" in error.text
    assert browser.find_element(By.ID, "state").get_attribute("value") == '{"guest": '
    assert hub.store.hosts()[0].generation == 0


def test_a_signed_job_is_put_in_on_the_page_byte_for_byte_as_the_answer_to_a_request(
    hub: DevHub, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    hub.store.enroll("pve1")
    hub.store.enqueue("pve1", request("r1"))
    job, armored = signed_with_a_key(tmp_path)
    browser.get(as_operator(hub, "/hosts/pve1"))
    form = browser.find_element(By.ID, "put")
    Select(form.find_element(By.NAME, "request")).select_by_value("r1")
    # A paste, as a person does it, brings the file's line end along.
    form.find_element(By.NAME, "job").send_keys(job.decode() + "\n")
    form.find_element(By.NAME, "signatures").send_keys(armored.decode() * 2)
    form.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(browser, 20).until(lambda b: "to be delivered" in b.page_source)
    (found,) = hub.store.jobs("pve1")
    assert base64.b64decode(found["op_blob_b64"]) == job
    assert found["sigs_armored"] == [armored.decode()] * 2
    browser.find_element(By.XPATH, "//button[text()='Hold']").click()
    WebDriverWait(browser, 20).until(lambda _: hub.store.jobs("pve1") == [])


def signed_with_a_key(directory: Path) -> tuple[bytes, bytes]:
    """Return the bytes of a job, and a signature over them by a key made for it."""
    job, key = directory / "web.job", directory / "key"
    job.write_text('{"act":"force_stop","name":"w\u00e4b","vmid":101}')
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "felhom-op-v1", job],
                   check=True, stderr=subprocess.DEVNULL)  # fmt: skip
    return job.read_bytes(), job.with_name("web.job.sig").read_bytes()


def test_a_guests_destruction_is_asked_for_on_the_page(
    hub: DevHub, browser: webdriver.Chrome
) -> None:
    hub.store.enroll("pve1")
    browser.get(as_operator(hub, "/hosts/pve1"))
    form = browser.find_element(By.ID, "ask")
    form.find_element(By.NAME, "vmid").send_keys("101")
    form.find_element(By.NAME, "stop").click()
    form.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(browser, 20).until(lambda b: "asked for" in b.page_source)
    (found,) = hub.store.jobs("pve1")
    assert found["request"] == {
        "act": "guest_destroy", "vmid": 101, "params": {"purge": False}, "stop": True
    }  # fmt: skip


def test_a_host_is_blocked_and_unblocked_with_a_button(
    hub: DevHub, browser: webdriver.Chrome
) -> None:
    hub.store.enroll("pve1")
    browser.get(as_operator(hub, "/hosts/pve1"))
    browser.find_element(By.ID, "block").click()
    WebDriverWait(browser, 20).until(lambda _: hub.store.hosts()[0].blocked)
    browser.get(as_operator(hub, "/hosts/pve1"))
    browser.find_element(By.ID, "block").click()
    WebDriverWait(browser, 20).until(lambda _: not hub.store.hosts()[0].blocked)
