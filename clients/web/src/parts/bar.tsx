/** A progress bar. Screen readers read `text` instead of the percentage. */
export function Bar({ label, text, value, max, tone }: { label: string; text: string; value: number; max: number; tone: string }) {
  const part = max > 0 ? Math.min(1, value / max) : 1;
  return (
    <div className={`bar ${tone}`} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={max} aria-valuenow={Math.min(value, max)} aria-valuetext={text}>
      <div className="fill" style={{ transform: `scaleX(${part})` }} />
    </div>
  );
}
