// A real browser, started once for each test file.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
let browser;

export function launch(more = []) {
  const executablePath = process.env.RAIDHALL_TEST_CHROMIUM;
  assert.ok(executablePath, 'RAIDHALL_TEST_CHROMIUM is not set: run it with `make test`');
  return chromium.launch({ executablePath, args: [...flags, ...more] });
}

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

// Opens a page in a browser context of its own. After the test `t` it calls `atEnd` with the page,
// then closes the context.
export async function newPage(t, options = {}, atEnd = () => {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  t.after(async () => {
    try {
      await atEnd(page);
    } finally {
      await context.close();
    }
  });
  return page;
}
