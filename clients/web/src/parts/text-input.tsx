import type { ComponentProps } from 'react';
import { words } from '../settings';

/**
 * A field for a text of at most `chars` characters, counted as the server counts them: by code
 * point, without white space at both ends. A longer text is not cut but explained.
 */
export function TextInput({ chars, ...rest }: ComponentProps<'input'> & { chars: number }) {
  return <input {...rest} onInput={({ currentTarget: field }) => {
    const count = [...field.value.trim()].length;
    field.setCustomValidity(count > chars ? words().tooLong(chars, count) : '');
  }} />;
}
