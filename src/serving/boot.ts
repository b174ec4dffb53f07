import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { RaiseEvent } from '../store/types.ts';
import { bootCandidates, type BootCandidate, type BootOptions, type Slots } from './boot-choice.ts';
import type { ChosenBundle } from './served-model.ts';

export interface BootDeps {
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** `fellBack`: another one is tried now. */
  readonly onStartFailed?: (error: AgentError, fellBack: boolean) => void;
  readonly slots?: Slots;
}

/** The bundles that could serve at the start, best first, and the one whose turn it is. */
export class Boot {
  readonly #options: BootOptions;
  readonly #deps: BootDeps;
  #left: readonly BootCandidate[] = [];

  constructor(options: BootOptions, deps: BootDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** The best that can be opened, as the slots stand now. Throws when not even the last can. */
  async open(signal: AbortSignal): Promise<ChosenBundle> {
    this.#left = bootCandidates(this.#options, this.#deps.slots ?? null);
    return this.next(signal);
  }

  /** The first that can be opened of those that are left. */
  async next(signal: AbortSignal): Promise<ChosenBundle> {
    for (;;) {
      const [next] = this.#left;
      if (!next) throw new AgentError('model_not_found', 'no bundle is left to open');
      try {
        return await next.open(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (this.isLast) throw thrown;
        this.giveUp(asAgentError(thrown));
      }
    }
  }

  get isLast(): boolean {
    return this.#left.length <= 1;
  }

  /** It did not start; it will be tried again. */
  failed(failure: AgentError): void {
    if (this.#left[0]?.from === 'active') this.#deps.onStartFailed?.(failure, false);
  }

  /** It cannot be opened or run: it is the next one's turn. */
  giveUp(failure: AgentError): void {
    const { log, raise, onStartFailed } = this.#deps;
    const [given, next] = this.#left;
    this.#left = this.#left.slice(1);
    const { code, message } = failure;
    const context = { wanted: given?.wanted, code };
    log.error(
      { ...context, next: next?.wanted, err: failure },
      'the wanted model cannot be used; another one is tried',
    );
    raise({ type: 'model_fallback', severity: 'error', code, message, context });
    if (given?.from === 'active') onStartFailed?.(failure, true);
  }
}
