import type { OutboxView } from '../contract/outbox.ts';
import type { AgentOptions } from './agent-commands.ts';
import { AgentClient } from './client.ts';
import { agePhrase, table } from './phrases.ts';
import { EXIT, jsonText, type Terminal } from './terminal.ts';

/** `outbox`: what waits for the broker, and what the broker would not take. */
export async function outbox(options: AgentOptions, terminal: Terminal): Promise<number> {
  const found = await new AgentClient(options, terminal).ask<OutboxView>('/api/v1/outbox');
  if (options.json === true) {
    terminal.out(jsonText(found));
    return EXIT.ok;
  }
  const { depth, oldest_age_s, dropped_total, next, rejected } = found;
  const waits = depth === 0 ? '0' : `${String(depth)}, the oldest for ${agePhrase(oldest_age_s)}`;
  terminal.out(
    table([
      ['waiting', waits],
      ['dropped', String(dropped_total)],
      ['rejected', String(rejected.count)],
    ]),
  );
  if (next.length > 0)
    terminal.out(table(next.map((one) => ['next', one.queued_at, one.topic, `#${String(one.seq)}`])));
  if (rejected.newest.length > 0)
    terminal.out(
      table(rejected.newest.map((one) => ['rejected', one.at, one.topic, `#${String(one.seq)}`, one.reason])),
    );
  return EXIT.ok;
}
