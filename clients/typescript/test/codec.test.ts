import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { decode } from '@msgpack/msgpack';
import { json, msgpack } from '../src/codec.js';
import type { ClientMessage } from '../src/protocol.js';

const fixtures = new URL('../../../../protocol/fixtures/', import.meta.url);
const bytes = (path: string): ArrayBuffer => new Uint8Array(readFileSync(new URL(path, fixtures))).buffer;
const text = (path: string): string => readFileSync(new URL(path, fixtures), 'utf8');
const names = (of: string): string[] => readdirSync(new URL(of, fixtures)).filter(name => name.endsWith('.json')).map(name => name.slice(0, -5));

test('both codecs decode each server fixture to the same message', () => {
  assert.ok(names('server').length > 50);
  for (const name of names('server')) {
    const read = msgpack.decode(bytes(`server/${name}.msgpack`));
    assert.deepEqual(read, json.decode(text(`server/${name}.json`)), name);
  }
});

test('encoded client messages equal the client fixtures', () => {
  assert.ok(names('client').length > 20);
  for (const name of names('client')) {
    const message = JSON.parse(text(`client/${name}.json`)) as ClientMessage;
    const frame = msgpack.encode(message);
    assert.ok(frame instanceof Uint8Array);
    assert.deepEqual(decode(frame), decode(new Uint8Array(bytes(`client/${name}.msgpack`))), name);
    assert.deepEqual(JSON.parse(json.encode(message) as string), message);
  }
});

test('both codecs omit absent fields', () => {
  const message: ClientMessage = { t: 'watch', raid: 7, since: undefined };
  assert.deepEqual(decode(msgpack.encode(message) as Uint8Array), { t: 'watch', raid: 7 });
  assert.equal(json.encode(message), '{"t":"watch","raid":7}');
});

test('a frame of the other codec is rejected', () => {
  assert.throws(() => msgpack.decode('{"t":"beat"}'), TypeError);
  assert.throws(() => json.decode(new ArrayBuffer(1)), TypeError);
});
