/** The topics of one device: absolute ones for the wire, relative ones for the other parts. */
export class Topics {
  /** `{base}/{site}/{device}/`. */
  readonly prefix: string;
  readonly status: string;
  /** Filter that matches every command. */
  readonly commands: string;
  readonly #commandPrefix: string;
  readonly #answerPrefix: string;

  constructor(options: { readonly base: string; readonly site: string; readonly device: string }) {
    this.prefix = `${options.base.replace(/\/+$/, '')}/${options.site}/${options.device}/`;
    this.status = this.absolute('status');
    this.#commandPrefix = this.absolute('cmd/');
    this.#answerPrefix = this.absolute('cmdres/');
    this.commands = `${this.#commandPrefix}+`;
  }

  absolute(relative: string): string {
    return this.prefix + relative;
  }

  /** The name in `…/cmd/{name}`; null for any other topic. */
  commandName(topic: string): string | null {
    if (!topic.startsWith(this.#commandPrefix)) return null;
    const name = topic.slice(this.#commandPrefix.length);
    return name === '' || name.includes('/') ? null : name;
  }

  /**
   * Relative topic for the answers to a command: the response topic that was asked for when it lies below
   * `…/cmdres/`, else `cmdres/{name}`. A sender cannot make the device publish anywhere else, nor to a topic that no
   * subscriber could name or that a broker hangs up on.
   */
  answer(name: string, responseTopic: string | null): string {
    const wanted = responseTopic?.startsWith(this.#answerPrefix)
      ? responseTopic.slice(this.#answerPrefix.length)
      : '';
    if (isUsable(wanted, MAX_ANSWER_TOPIC)) return `cmdres/${wanted}`;
    return `cmdres/${isUsable(name, MAX_NAME) ? name : 'unknown'}`;
  }
}

const MAX_ANSWER_TOPIC = 256;
const MAX_NAME = 64;

/** A topic without wildcards, and without characters that MQTT 5.0 section 1.5.4 lets a broker refuse. */
const isUsable = (topic: string, longest: number): boolean =>
  topic !== '' && topic.length <= longest && !/[+#\p{Cc}\p{Cn}\p{Cs}]/u.test(topic);
