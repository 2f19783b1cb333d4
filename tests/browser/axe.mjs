// Accessibility checks by axe.
import assert from 'node:assert/strict';
import axe from 'axe-core';

// Fails if axe finds a violation on the page.
export async function violations(page, where) {
  // During an animation an element can have less contrast than at its end.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(({ effect }) => effect.getTiming().iterations !== Infinity).map(({ finished }) => finished)));
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(found.violations.map(({ id, nodes }) => `${where}: ${id} ${nodes.map(({ html }) => html.slice(0, 120)).join(' ')}`), []);
}
