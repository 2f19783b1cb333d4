// Texts of players inside the app's own sentences. A control character in one of them, such as
// U+202E, must not reverse the text around it.
const BIDI_CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * Marks a player's text for `Sentence`. The marks are Unicode's own isolates, so that they also work
 * where there is no markup, as in a tooltip.
 */
export const quote = (text: string): string => `\u2068${text.replace(BIDI_CONTROLS, '')}\u2069`;

/** Returns a sentence without the marks, for screen readers. */
export const plain = (sentence: string): string => sentence.replace(BIDI_CONTROLS, '');

/** Shows a sentence with each player's text in an element of its own. */
export function Sentence({ text }: { text: string }) {
  return text.split(/\u2068(.*?)\u2069/).map((part, index) => (index % 2 ? <bdi key={index}>{part}</bdi> : part));
}
