/**
 * What of a setting is shown. `text`, `name`, `header`: nothing; `address`: scheme, host and port; `command`: the program without
 * its arguments. A name is often an ordinary word: it is not searched in the texts that the agent writes.
 */
export type SecretKind = 'text' | 'name' | 'header' | 'address' | 'command';

/** Marks a key whose value may contain a secret; `secret-keys.ts` finds it. */
export const secret = (kind: SecretKind): { readonly secret: SecretKind } => ({ secret: kind });
