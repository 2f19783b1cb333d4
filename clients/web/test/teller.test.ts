import { RaidhallError } from '@raidhall/client';
import type { PlayerStream, Seq } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { teller } from '../src/effects/teller';
import { SHOWN_KEY } from '../src/seen';

/** A player with an unread notification, whose rewards after it another device has shown up to 40. */
class Fixture {
  /** What this device sees of the setting. */
  seen = { value: 0 as unknown, version: 0 };
  readonly told: (readonly [unknown, number | undefined])[] = [];
  private readonly me = {
    getView: () => ({
      state: { read_through: 4, settings: { [SHOWN_KEY]: this.seen }, inbox: { unread: 1, items: [{ seq: 5, at: 0, kind: 'sale', data: { title: 'Sale', body: '' }, read: false }] } },
    }),
    setSetting: async (_: string, value: unknown, { ifVersion }: { ifVersion?: number }) => {
      this.told.push([value, ifVersion]);
      if (ifVersion !== 7) throw new RaidhallError('conflict', 'Another device set it');
    },
  } as unknown as PlayerStream;

  teller(shown: Seq) {
    return teller(this.me, () => shown);
  }
}

const settle = () => new Promise(setImmediate);

for (const [shown, expected] of [[10, [[10, 0]]], [50, [[50, 0], [50, 7]]]] as const) {
  test(`what another device told is not taken back: ${shown}`, async t => {
    const timers: (() => void)[] = [];
    t.mock.method(globalThis, 'setTimeout', (run: () => void) => void timers.push(run));
    const fixture = new Fixture();
    fixture.teller(shown).tell();
    fixture.seen = { value: 40, version: 7 };
    await settle();
    timers.forEach(run => run());
    await settle();
    assert.deepEqual(fixture.told, expected);
  });
}
