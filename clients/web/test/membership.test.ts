import { RaidhallError } from '@raidhall/client';
import type { RaidhallErrorType, Rest } from '@raidhall/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { raidOfMember } from '../src/membership';
import { ADA, raid } from './states';

const answering = (answer: () => object) => ({ raid: async () => answer() }) as unknown as Rest;

test('only a member gets the raid', async () => {
  const rest = answering(() => ({ ...raid(), seq: 1 }));
  assert.equal((await raidOfMember(rest, 7, ADA))?.id, 7);
  assert.equal(await raidOfMember(rest, 7, 99), null);
});

test('an answer that says nothing about membership is an error', async () => {
  const failing = (type: RaidhallErrorType) => raidOfMember(answering(() => { throw new RaidhallError(type, 'No'); }), 7, ADA);
  for (const type of ['not_found', 'forbidden'] as const) assert.equal(await failing(type), null);
  for (const type of ['rate_limited', 'unavailable', 'network', 'unauthenticated'] as const) await assert.rejects(failing(type), { type });
});
