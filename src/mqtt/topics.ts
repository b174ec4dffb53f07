/** The topics of one device. Only the link uses absolute topics; the other parts use topics relative to the device. */
export class Topics {
  /** `{base}/{site}/{device}/`. */
  readonly prefix: string;
  readonly status: string;
  /** Topic filter that matches every command of this device. */
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

  /** The topic of one command. */
  command(name: string): string {
    return this.#commandPrefix + name;
  }

  /** The name in `…/cmd/{name}`; null for any other topic. */
  commandName(topic: string): string | null {
    if (!topic.startsWith(this.#commandPrefix)) return null;
    const name = topic.slice(this.#commandPrefix.length);
    return name === '' || name.includes('/') ? null : name;
  }

  /**
   * Relative topic for the answers to a command: the requested response topic if it is below `…/cmdres/`, otherwise
   * `cmdres/{name}`. So a sender cannot make the device publish to other topics, to a topic that no subscriber can
   * subscribe to, or to a topic for which a broker closes the connection.
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
