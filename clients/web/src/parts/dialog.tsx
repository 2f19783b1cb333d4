// Modal dialogs on the browser's own `<dialog>`, which keeps the focus inside and closes on Escape.
import { useId, useLayoutEffect, useRef } from 'react';
import type { MouseEvent, ReactNode } from 'react';
import { useWords } from '../settings';
import { Sentence } from './sentence';

interface DialogProps {
  /** For `Sentence`, like the text. */
  title: string;
  text?: string;
  onClose: () => void;
  children: ReactNode;
}

export function Dialog({ title, text, onClose, children }: DialogProps) {
  const words = useWords();
  const id = useId();
  const textId = useId();
  const ref = useRef<HTMLDialogElement>(null);
  // Closed before it leaves the page, so that the browser returns the focus to the element that
  // opened it.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  // The second press of the double click that opened it.
  const ignoreSecond = (event: MouseEvent): void => {
    if (event.detail > 1) event.stopPropagation();
  };
  return (
    <dialog ref={ref} aria-labelledby={id} aria-describedby={text && textId} onCancel={onClose} onClickCapture={ignoreSecond} onClick={({ target }) => target === ref.current && onClose()}>
      <div className="dialog">
        <div className="row">
          <h2 id={id} className="grow"><Sentence text={title} /></h2>
          <button type="button" className="quiet icon" aria-label={words.close} onClick={onClose}>✕</button>
        </div>
        {text && <p id={textId} className="dim"><Sentence text={text} /></p>}
        {children}
      </div>
    </dialog>
  );
}

/** Texts of a confirmation. The buttons name the action and its alternative. */
export interface Question {
  readonly title: string;
  readonly text?: string;
  readonly yes: string;
  readonly no: string;
}

export function Confirm({ question: { title, text, yes, no }, onYes, onClose }: { question: Question; onYes: () => void; onClose: () => void }) {
  return (
    <Dialog title={title} text={text} onClose={onClose}>
      <div className="row end">
        <button type="button" className="quiet" onClick={onClose}>{no}</button>
        <button type="button" className="danger" onClick={() => { onClose(); onYes(); }}>{yes}</button>
      </div>
    </Dialog>
  );
}
