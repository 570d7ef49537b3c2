"""Waiting until a page has kept its work, so that a reload finds it.

A page keeps its work half a second after each change and when it goes away, in IndexedDB, which takes what it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Page

WAIT = """async ([patience, going]) => {
  const begun = Date.now();
  if (going) dispatchEvent(new Event("pagehide"));
  const asked = (request) => new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  const database = await asked(indexedDB.open("reknit", 1));
  const mine = sessionStorage.getItem("reknit-session");
  const find = () => asked(database.transaction("sessions").objectStore("sessions").get(mine));
  const holds = %s;
  for (let found = null; !(found && (!going || found.updated >= begun) && holds(found)); found = await find()) {
    if (Date.now() > begun + patience) throw new Error(`kept in vain: ${JSON.stringify(found)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
  database.close();
}"""


def kept(page: Page, holds: str | None = None) -> None:
    """Let the page keep its work as if it went away; with a JavaScript test of what is kept, wait for that instead."""
    page.evaluate(WAIT % (holds or "() => true"), [PATIENCE_S * 1000, holds is None])
