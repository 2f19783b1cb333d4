// A form that is sent once: its button waits for the answer.
import { useState } from 'react';
import type { FormEvent } from 'react';
import { complain } from '../notices';

/** Props of a form, and whether it is being sent. `send` gets its fields by name. */
export function useForm(send: (fields: Record<string, string>, form: HTMLFormElement) => Promise<unknown>): { onSubmit: (event: FormEvent<HTMLFormElement>) => void; busy: boolean } {
  const [busy, setBusy] = useState(false);
  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    if (busy) return;
    const form = event.currentTarget;
    const fields = Object.fromEntries([...new FormData(form)].map(([name, field]) => [name, String(field)]));
    setBusy(true);
    send(fields, form).catch(complain).finally(() => setBusy(false));
  };
  return { onSubmit, busy };
}
