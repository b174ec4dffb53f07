/** The topics of one device: absolute for the wire, relative for the other stages. */
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
   * Relative topic for the answers to a command: the requested response topic if it is below `…/cmdres/`, otherwise
   * `cmdres/{name}`. A sender cannot make the device publish to another topic, nor to one that a subscriber cannot name
   * or that makes a broker close the connection.
   */
  answerTopic(name: string, responseTopic: string | null): string {
    const requested = responseTopic?.startsWith(this.#answerPrefix)
      ? responseTopic.slice(this.#answerPrefix.length)
      : '';
    if (isPublishable(requested, MAX_ANSWER_TOPIC_CHARS)) return `cmdres/${requested}`;
    return `cmdres/${isPublishable(name, MAX_COMMAND_NAME_CHARS) ? name : 'unknown'}`;
  }
}

const MAX_ANSWER_TOPIC_CHARS = 256;
const MAX_COMMAND_NAME_CHARS = 64;

/**
 * True for a topic without wildcards and without characters that a broker may reject. Source: MQTT 5.0 section 1.5.4.
 */
const isPublishable = (topic: string, maxChars: number): boolean =>
  topic !== '' && topic.length <= maxChars && !/[+#\p{Cc}\p{Cn}\p{Cs}]/u.test(topic);
