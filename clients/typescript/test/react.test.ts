import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { connect } from '../src/client.js';
import { useConnection, useMe, useRaid } from '../src/react.js';
import { RAID, SimulatedServer, VirtualClock, chance, codec } from './simulation.js';

test('a component renders the current raid and connection', async () => {
  const server = new SimulatedServer(new VirtualClock(chance(1)));
  const client = connect({ url: 'http://server', token: 'a token', WebSocket: server.WebSocket, codec, clock: server.clock });
  const Shown = () => {
    const { state, live, raid } = useRaid(client, RAID);
    const { me, state: player } = useMe(client);
    assert.deepEqual([me, player], [client.me, null]);
    const { status, waiting } = useConnection(client);
    return createElement('p', null, `${raid.id} ${state?.title ?? 'nothing'} ${live} ${status.state} ${waiting}`);
  };
  assert.equal(renderToString(createElement(Shown)), '<p>7 nothing false connecting 0</p>');
  client.raid(RAID).subscribe(() => {});
  await server.clock.pass(1_000);
  assert.equal(renderToString(createElement(Shown)), '<p>7 Ship it true online 0</p>');
  const view = client.raid(RAID).getView();
  assert.equal(client.raid(RAID).getView(), view, 'the same object until something changes');
  client.close();
});
