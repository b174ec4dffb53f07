import { addAbortListener } from 'node:events';
import type { Socket } from 'node:net';
import { AgentError } from '../../base/errors.ts';
import { HttpAuth } from '../http/auth.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import { connectTcp, connectTls, tlsFor, type TlsSettings } from '../connect.ts';
import { isRtspAddress, isSameOrigin, portOf } from './address.ts';
import { headerOf, NotRtsp, replaceHeader, RtspParser, serializeRtsp, type RtspMessage } from './messages.ts';
import { closedError, isDecisive, mayAcceptOtherTransport, refusalError } from './status.ts';
import { readInOrder } from './read-in-order.ts';
import type { RtspTransport } from './transport-choice.ts';

export interface RtspCamera {
  /** The address of the camera; its credentials are ignored. */
  readonly url: URL;
  /** Null: the camera needs no login. */
  readonly credentials: { readonly username: string; readonly password: string } | null;
  readonly tls: TlsSettings;
}

const MAX_REDIRECTS = 3;
const MAX_PENDING = 32;

/** The first message of ffmpeg is far shorter. */
const MAX_BYTES_WITHOUT_TOKEN = 8192;

/** What a session tells its relay. */
export interface RtspEvents {
  /** The client has shown the token. */
  trusted(): void;
  /** The camera refused a transport. */
  refused(failure: AgentError): void;
  accepted(transport: RtspTransport): void;
  /** The camera has begun to send the stream. */
  playing(): void;
}

interface PendingRequest {
  readonly request: RtspMessage;
  readonly method: string;
  readonly uri: string;
  readonly clientSeq: string;
  readonly attempts: number;
}

/** One connection of ffmpeg, and the connection to the camera that serves it. */
export class RtspSession {
  readonly #configured: RtspCamera;
  readonly #prefix: string;
  readonly #client: Socket;
  readonly #events: RtspEvents;
  readonly #ended = new AbortController();
  /** Aborts when the session or the relay ends. */
  readonly #signal: AbortSignal;
  readonly #auth: HttpAuth | null;
  readonly #pending = new Map<number, PendingRequest>();
  readonly #closed = Promise.withResolvers<undefined>();
  #camera: Socket | null = null;
  /** Where the camera is: its configured address, or that of a redirect. */
  #target: URL;
  #redirects = 0;
  #seq = 0;
  /** True when the client has shown the token. */
  isOurs = false;

  constructor(
    camera: RtspCamera,
    relay: {
      readonly client: Socket;
      readonly prefix: string;
      readonly signal: AbortSignal;
      readonly events: RtspEvents;
    },
  ) {
    this.#events = relay.events;
    this.#configured = camera;
    this.#prefix = relay.prefix;
    this.#client = relay.client;
    this.#signal = AbortSignal.any([relay.signal, this.#ended.signal]);
    this.#auth = camera.credentials && new HttpAuth(camera.credentials);
    this.#target = camera.url;
  }

  /** Resolves when the client closes its connection. Throws when the camera fails. */
  async run(): Promise<void> {
    const parser = new RtspParser();
    // In order: the first request waits for the connection to the camera.
    readInOrder(this.#client, {
      handle: (chunk) => this.#fromClient(parser.push(chunk)),
      to: () => this.#camera,
      fail: this.#closed.reject,
    });
    this.#client.once('close', () => this.#closed.resolve(undefined));
    await this.#closed.promise;
  }

  end(): void {
    this.#ended.abort();
    this.#client.destroy();
  }

  async #fromClient(units: readonly (RtspMessage | Buffer)[]): Promise<void> {
    for (const unit of units) {
      const request = Buffer.isBuffer(unit) ? null : /^([A-Z_]+) (.+) RTSP\//.exec(unit.startLine);
      if (!this.isOurs) this.#checkToken(request?.[2] ?? '');
      this.#camera ??= await this.#connect();
      if (Buffer.isBuffer(unit)) this.#camera.write(unit);
      // The answer to a request of the camera.
      else if (!request) this.#camera.write(serializeRtsp(unit));
      else
        this.#forward({
          method: request[1] ?? '',
          uri: this.#toCamera(request[2] ?? ''),
          request: unit,
          attempts: 0,
          clientSeq: headerOf(unit.headers, 'cseq') ?? '',
        });
    }
    if (!this.isOurs && this.#client.bytesRead > MAX_BYTES_WITHOUT_TOKEN) throw withoutToken();
  }

  #checkToken(uri: string): void {
    const { length } = this.#prefix;
    if (!uri.startsWith(this.#prefix) || !/^([/?]|$)/.test(uri.slice(length))) throw withoutToken();
    this.isOurs = true;
    this.#events.trusted();
  }

  /** The address as the camera knows it. ffmpeg may have added the name of a track to that of the relay. */
  #toCamera(uri: string): string {
    if (!uri.startsWith(this.#prefix)) return uri;
    const { protocol, host, pathname, search } = this.#target;
    const track = uri.slice(this.#prefix.length);
    const address = `${protocol}//${host}${pathname}${search}`;
    return track === '' ? address : address.replace(/\/$/, '') + track;
  }

  #forward(pending: PendingRequest): void {
    const { method, uri, request } = pending;
    this.#seq += 1;
    this.#pending.set(this.#seq, pending);
    // Some cameras never answer the requests that keep the session alive.
    const oldest = this.#pending.keys().next();
    if (this.#pending.size > MAX_PENDING && oldest.done !== true) this.#pending.delete(oldest.value);
    const authorization = this.#auth?.authorize(method, uri) ?? null;
    const headers = replaceHeader(
      replaceHeader(request.headers, 'CSeq', String(this.#seq)),
      'Authorization',
      authorization,
    );
    this.#camera?.write(serializeRtsp({ ...request, startLine: `${method} ${uri} RTSP/1.0`, headers }));
  }

  /** Connects to the target, and passes on what it sends. Throws `camera_unreachable` or `camera_certificate`. */
  async #connect(): Promise<Socket> {
    const { protocol, hostname } = this.#target;
    const peer = { host: hostname.replace(/^\[|\]$/g, ''), port: portOf(this.#target) };
    const { tls, url } = this.#configured;
    const camera =
      protocol === 'rtsps:'
        ? await connectTls(peer, tlsFor(tls, hostname, url.hostname), this.#signal)
        : await connectTcp(peer, this.#signal);
    const parser = new RtspParser();
    addAbortListener(this.#signal, () => camera.destroy());
    camera.on('error', () => undefined);
    const reading = readInOrder(camera, {
      handle: (chunk) => this.#fromCamera(parser.push(chunk)),
      to: () => this.#client,
      fail: (failure) => this.#closed.reject(failure instanceof NotRtsp ? notRtspError(failure) : failure),
    });
    camera.on('close', () => {
      // In order: its last answer may still wait.
      void reading.settled().then(() => {
        if (this.#camera !== camera) return;
        if (this.#pending.size > 0) this.#closed.reject(closedError());
        this.#client.end();
      });
    });
    return camera;
  }

  async #fromCamera(units: readonly (RtspMessage | Buffer)[]): Promise<void> {
    for (const unit of units) {
      if (Buffer.isBuffer(unit)) this.#client.write(unit);
      else await this.#answer(unit);
    }
  }

  async #answer(message: RtspMessage): Promise<void> {
    if (!message.startLine.startsWith('RTSP/')) {
      // A request of the camera.
      this.#client.write(serializeRtsp(message));
      return;
    }
    const status = Number(/^RTSP\/\S+\s+(\d{3})/.exec(message.startLine)?.[1] ?? 0);
    const seq = Number.parseInt(headerOf(message.headers, 'cseq') ?? '', 10);
    // Some cameras answer without CSeq, or with a wrong one, and ffmpeg accepts that: then it is the oldest request.
    const key = this.#pending.has(seq) ? seq : (this.#pending.keys().next().value ?? 0);
    const pending = this.#pending.get(key);
    // ffmpeg would take an answer without a request for that to its next one. No redirect reaches it, see below.
    if (!pending || status === 0) return;
    this.#pending.delete(key);
    if (status === 401 && this.#acceptChallenge(message, pending)) {
      this.#forward({ ...pending, attempts: pending.attempts + 1 });
      return;
    }
    if (status >= 300 && status < 400) {
      await this.#redirect(headerOf(message.headers, 'location') ?? '', pending);
      return;
    }
    const startLine = this.#judge(status, message, pending);
    const headers = replaceHeader(message.headers, 'CSeq', pending.clientSeq);
    this.#client.write(serializeRtsp({ ...message, startLine, headers: this.#withSource(headers) }));
  }

  /** The status line for ffmpeg. Throws when the camera refuses the stream. */
  #judge(status: number, { headers }: RtspMessage, { method, request, attempts }: PendingRequest): string {
    if (status >= 400 && isDecisive(method, status)) {
      const challenge = headerOf(headers, 'www-authenticate');
      const failure = refusalError({ status, method, challenge, hasLogin: this.#auth !== null, attempts });
      if (!mayAcceptOtherTransport(method, status)) throw failure;
      this.#events.refused(failure);
      // ffmpeg tries another transport after this status alone.
      return 'RTSP/1.0 461 Unsupported Transport';
    }
    // A camera that does not know OPTIONS may know the requests that matter.
    if (status >= 400 && method === 'OPTIONS') return 'RTSP/1.0 200 OK';
    if (status < 300 && method === 'SETUP')
      this.#events.accepted(/TCP/.test(headerOf(request.headers, 'transport') ?? '') ? 'tcp' : 'udp');
    if (status < 300 && method === 'PLAY') this.#events.playing();
    return `RTSP/1.0 ${String(status)} ${status < 300 ? 'OK' : 'Refused'}`;
  }

  /** With UDP, ffmpeg sends its reports to the source: by default to the host that it is connected to, the relay. */
  #withSource(headers: readonly string[]): readonly string[] {
    const transport = headerOf(headers, 'transport');
    const address = this.#camera?.remoteAddress;
    if (transport === null || address === undefined || /interleaved|source=|TCP/i.test(transport))
      return headers;
    return replaceHeader(headers, 'Transport', `${transport};source=${address}`);
  }

  /** Cameras lock accounts after wrong passwords: sends the credentials once, and again only if the nonce was stale. */
  #acceptChallenge({ headers }: RtspMessage, { attempts }: PendingRequest): boolean {
    const challenge = headerOf(headers, 'www-authenticate');
    const isStale = /\bstale\s*=\s*"?true/i.test(challenge ?? '');
    return attempts < 2 && (attempts === 0 || isStale) && this.#auth?.acceptChallenge(challenge) === true;
  }

  async #redirect(location: string, pending: PendingRequest): Promise<void> {
    const from = this.#target;
    const to = location === '' ? null : URL.parse(location, from.href);
    this.#redirects += 1;
    if (!to || !isRtspAddress(to) || this.#redirects > MAX_REDIRECTS)
      throw redirectError('too often, or to an address that is not rtsp or rtsps');
    if (from.protocol === 'rtsps:' && to.protocol !== 'rtsps:')
      throw redirectError('from rtsps to rtsp, which is not encrypted');
    if (this.#auth && !isSameOrigin(from, to))
      throw redirectError('to another address, where its password is not sent');
    to.username = '';
    to.password = '';
    this.#target = to;
    const before = this.#camera;
    this.#camera = null;
    before?.destroy();
    this.#camera = await this.#connect();
    this.#forward({ ...pending, uri: to.href, attempts: 0 });
  }
}

const withoutToken = (): Error => new Error('a client without the token');

const redirectError = (where: string): AgentError =>
  new AgentError('camera_unreachable', `the camera redirects ${where}`, {
    hint: 'set the address of the redirect as the url of the camera, if you trust it',
  });

const notRtspError = (cause: Error): AgentError =>
  new AgentError('camera_codec', 'the camera does not speak RTSP on this port', {
    cause,
    hint: CAUSE_REMEDIES.other_protocol,
  });
