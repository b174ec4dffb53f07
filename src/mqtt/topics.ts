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
   * `…/cmdres/`, else `cmdres/{name}`. A sender cannot make the device publish anywhere else.
   */
  answer(name: string, responseTopic: string | null): string {
    const wanted = responseTopic?.startsWith(this.#answerPrefix)
      ? responseTopic.slice(this.#answerPrefix.length)
      : '';
    const usable = wanted !== '' && wanted.length <= 256 && !/[+#\0]/.test(wanted);
    return usable ? `cmdres/${wanted}` : `cmdres/${name}`;
  }
}
