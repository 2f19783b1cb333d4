// The OpenAPI and AsyncAPI documents, validated against the schemas of their specifications.
import { Validator } from '@seriousme/openapi-schema-validator';
import specifications from '@asyncapi/specs';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

const document = async name => JSON.parse(await readFile(new URL(`../../protocol/${name}.json`, import.meta.url)));

test('the OpenAPI document is valid', async () => {
  const openapi = await document('openapi');
  const judge = new Validator();
  const verdict = await judge.validate(structuredClone(openapi));
  assert.deepEqual([verdict.errors ?? [], judge.version], [[], '3.1']);
  openapi.paths['/api/v1/me'].get.responses['200'].content = [];
  assert.equal((await new Validator().validate(openapi)).valid, false, 'the validator rejects a broken document');
});

test('the AsyncAPI document is valid', async () => {
  const asyncapi = await document('asyncapi');
  const ajv = new Ajv({ meta: false, strict: false, allErrors: true, validateSchema: false, logger: false });
  addFormats(ajv);
  const judge = ajv.compile(specifications.schemas[asyncapi.asyncapi]);
  judge(asyncapi);
  assert.deepEqual(judge.errors ?? [], []);
  assert.equal(judge({ ...asyncapi, channels: [] }), false, 'the validator rejects a broken document');
});
