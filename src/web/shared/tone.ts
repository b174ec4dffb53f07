/** How a state looks: it has a word, a shape and a colour. */
export type Tone = 'ok' | 'warn' | 'bad' | 'off';
