// The browser's own dialog: it keeps the focus, and Escape closes it.
import { useId, useLayoutEffect, useRef } from 'react';
import type { ReactNode } from 'react';
import { useWords } from '../settings';

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const words = useWords();
  const id = useId();
  const ref = useRef<HTMLDialogElement>(null);
  // Closed while it is still in the page: so the focus goes back to where it came from.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onCancel={onClose} onClick={({ target }) => target === ref.current && onClose()}>
      <div className="dialog">
        <div className="row">
          <h2 id={id} className="grow">{title}</h2>
          <button type="button" className="quiet icon" aria-label={words.close} onClick={onClose}>✕</button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

export function Confirm({ question, onYes, onClose }: { question: string; onYes: () => void; onClose: () => void }) {
  const words = useWords();
  return (
    <Dialog title={question} onClose={onClose}>
      <div className="row end">
        <button type="button" className="quiet" onClick={onClose}>{words.cancel}</button>
        <button type="button" className="danger" onClick={() => { onClose(); onYes(); }}>{words.yes}</button>
      </div>
    </Dialog>
  );
}
