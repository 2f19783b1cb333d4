// Frame rate and main-thread blocking of the app on a phone with a slow processor.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, open, phone, sees, signIn } from './app.mjs';
import { Server } from './server.mjs';

const SECONDS = 5;
const EVENTS_PER_SECOND = 50;
const SLOWDOWN = 4;
const FRAMES_PER_SECOND = 60;
/** Largest share of dropped frames. */
const DROPPED_AT_MOST = 0.1;
/** Longest task on the main thread, which delays the reaction to a touch. */
const BLOCKED_AT_MOST_MS = 300;
/** Other load on this machine can spoil a measurement. */
const TRIES = 3;

for (const [what, completions] of [['chat and new tasks', false], ['a fifth claims and completions', true]]) {
  test(`a phone with a ${SLOWDOWN}x slower processor draws ${FRAMES_PER_SECOND} fps at ${EVENTS_PER_SECOND} events a second: ${what}`, async t => {
    const server = await Server.start(t, { RAIDHALL__LIMITS__COMMANDS_PER_SECOND: '200', RAIDHALL__LIMITS__REST_WRITES_PER_MINUTE: '100000' });
    const tries = [];
    const good = ({ dropped, blocked }) => dropped <= DROPPED_AT_MOST && blocked <= BLOCKED_AT_MOST_MS;
    while (tries.length < TRIES && !tries.some(good)) tries.push(await measure(t, server, completions));
    assert.ok(tries.some(good), JSON.stringify(tries));
  });
}

async function measure(t, server, completions) {
  const page = await open(t, server, phone);
  await signIn(page, 'Ada');
  const code = await create(page, { title: 'Burst', xp: 100_000, tasks: 500 });
  const others = await Promise.all(['Ben', 'Eve', 'Kim'].map(name => join(server, name, code)));
  for (let number = 0; number < SECONDS * 5; number++) await others[0]({ type: 'add_task', title: `Task ${number}`, xp: 40, minutes: 25 });
  await page.getByRole('button', { name: 'Start raid' }).click();
  await sees(page, '#raid-status', 'In progress');

  const wire = await page.context().newCDPSession(page);
  await wire.send('Emulation.setCPUThrottlingRate', { rate: SLOWDOWN });
  await page.evaluate(() => {
    window.blocked = 0;
    new PerformanceObserver(list => list.getEntries().forEach(({ duration }) => { window.blocked = Math.max(window.blocked, duration); })).observe({ type: 'longtask' });
  });
  const frames = await traced(page, () => burst(others, completions));
  const blocked = await page.evaluate(() => window.blocked);
  if (completions) await sees(page, '#task-gauge', `${SECONDS * 5} of 500 tasks`);
  await page.close();
  const presented = frames.filter(({ state }) => state.startsWith('STATE_PRESENTED')).length;
  const lost = frames.filter(({ state, affects_smoothness }) => state === 'STATE_DROPPED' && affects_smoothness).length;
  const due = FRAMES_PER_SECOND * SECONDS;
  t.diagnostic(`${lost} of ${due} frames dropped; the main thread was blocked for ${blocked} ms at most`);
  assert.ok(presented > SECONDS * 5, `${presented} frames: the effects were not drawn`);
  return { dropped: lost / due, blocked };
}

// Returns Chromium's own records of each frame while `act` ran, the source of "dropped frames" in
// its developer tools. They leave out frames that nothing requested, and a late frame while nothing
// moved does not count as dropped.
async function traced(page, act) {
  const wire = await page.context().browser().newBrowserCDPSession();
  const events = [];
  wire.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await wire.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['cc', 'benchmark', 'viz', 'disabled-by-default-devtools.timeline.frame'] } });
  await act();
  const complete = new Promise(resolve => wire.once('Tracing.tracingComplete', resolve));
  await wire.send('Tracing.end');
  await complete;
  await wire.detach();
  // Older Chromium names the key `chrome_frame_reporter`.
  return events.filter(({ name }) => name === 'PipelineReporter').flatMap(({ args }) => args.frame_reporter ?? args.chrome_frame_reporter ?? []);
}

// Joins the raid as a player without a page. Returns a function that sends a command for that
// player.
async function join(server, name, invite_code) {
  const ask = async (path, body, token) => {
    const answer = await fetch(`${server.url}/api/v1${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, `${path}: ${answer.status} ${JSON.stringify(body)}`);
    return (await answer.json()).data;
  };
  const { access_token } = await ask('/auth/guest', { name });
  const { id } = await ask('/raids/join', { invite_code }, access_token);
  return cmd => ask(`/raids/${id}/commands`, { cmd }, access_token);
}

// Sends events at an even rate: new tasks and chat and, with `completions`, in every ten events one
// claim and one completion.
async function burst(players, completions) {
  const begun = Date.now();
  const given = [];
  for (let turn = 0; turn < EVENTS_PER_SECOND * SECONDS; turn++) {
    const due = begun + turn * 1_000 / EVENTS_PER_SECOND;
    if (due > Date.now()) await new Promise(resolve => setTimeout(resolve, due - Date.now()));
    const task = 1 + Math.floor(turn / 10);
    const act = players[task % players.length];
    const round = turn % 10;
    if (completions && round === 0) given.push(act({ type: 'claim_task', task }));
    else if (completions && round === 5) given.push(given[turn - 5].then(() => act({ type: 'complete_task', task })));
    else if (round % 2) given.push(act({ type: 'say', text: `Word ${turn}` }));
    else given.push(act({ type: 'add_task', title: `More ${turn}`, xp: 5, minutes: 0 }));
  }
  await Promise.all(given);
}
