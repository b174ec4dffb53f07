/**
 * Faults of brokers, and the lines of `swellsight doctor` for them, without the name of the check. 10.0.0.9:1883 stands for the
 * broker, bay/north for the device. A test provokes each one.
 */
export const BROKER_EXAMPLES = {
  'nothing listens there': [
    'FAIL the broker is unreachable (connect ECONNREFUSED 10.0.0.9:1883) [mqtt_unreachable] -> check the port in mqtt.url (--broker), and that the broker runs',
  ],
  'the host name is wrong': [
    'FAIL the broker is unreachable (getaddrinfo ENOTFOUND broker.invalid) [mqtt_unreachable] -> check the host name in mqtt.url (--broker), and the name server (DNS) of this machine',
  ],
  'mqtts:// to a port without TLS, or mqtt:// to a port with TLS': [
    'FAIL the broker closed the connection without an answer (read ECONNRESET) [mqtt_unreachable] -> check the scheme and the port in mqtt.url (--broker): mqtt:// and mqtts:// (TLS) have ports of their own; the log of the broker may name the cause',
  ],
  'wrong user or password': [
    'FAIL the broker refused the connection (Connection refused: Not authorized) [mqtt_refused] -> check the user name, the password and the certificate for the broker',
  ],
  'the authority of its certificate is not trusted': [
    'FAIL the certificate was not accepted (unable to verify the first certificate) [mqtt_refused] -> set mqtt.ca (--ca) to the certificate of the authority that signed that of the broker; check its host name and dates',
  ],
  'its certificate is for another host name': [
    "FAIL the certificate was not accepted (Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list: ) [mqtt_refused] -> set mqtt.ca (--ca) to the certificate of the authority that signed that of the broker; check its host name and dates",
  ],
  'QoS 0 only': [
    'FAIL the broker supports QoS 0 only, and records would be lost: the agent needs QoS 1 [mqtt_refused] -> use a broker that supports QoS 1',
  ],
  'small packets only': [
    'FAIL the size limit of the broker is too low for a record (at most 1400 bytes in a packet) [mqtt_refused] -> raise the packet size limit of the broker to 32 KiB or more (mosquitto: max_packet_size)',
  ],
  'no retained messages': [
    'ok connected to mqtt://10.0.0.9:1883 as the agent, with MQTT 5; it may publish its status and receive commands',
    'warn broker_limits:retain: the broker does not support this feature; the agent works without it -> see docs/brokers.md for what is lost, or raise this limit of the broker',
  ],
  'refused subscriptions': [
    'FAIL no commands: the subscription to swellsight/v1/bay/north/cmd/+ is refused (Subscribe error: Not authorized) -> change the access rules of the broker (docs/mqtt.md, "Access rules")',
    'warn the subscription to swellsight/v1/bay/north/status is refused (Subscribe error: Not authorized) -> change the access rules of the broker (docs/mqtt.md, "Access rules")',
  ],
  'refused messages': [
    'FAIL no message on swellsight/v1/bay/north/status: the broker refused the message (Publish error: Not authorized) [mqtt_publish_refused] -> change the access rules of the broker (docs/mqtt.md, "Access rules")',
  ],
  'the broker has moved': [
    'FAIL the broker redirects its clients to another server (Connection refused: Server moved) [mqtt_unreachable] -> set mqtt.url to the address that the operator of the broker names',
  ],
  'mqtt.protocolVersion 4, and the broker has MQTT 5 only': [
    'FAIL the broker does not support this version of MQTT (Connection refused: Unacceptable protocol version) [mqtt_unreachable] -> set mqtt.protocolVersion to a version that the broker supports',
  ],
  'mqtt.clientId is not accepted': [
    'FAIL the broker refused the connection (Connection refused: Client Identifier not valid) [mqtt_refused] -> set mqtt.clientId to an id that the broker accepts for this device',
  ],
  'an agent on another machine has the same site and device': [
    'warn not checked: an agent with the name bay/north is online at 10.0.0.9:1883, and connecting would disconnect it -> run doctor on the machine of that agent, or stop it first',
  ],
  'a stale status': [
    'ok connected to mqtt://10.0.0.9:1883 as the agent, with MQTT 5; it may publish its status and receive commands',
    'warn the retained status says `online`, but no agent answers: it is of an agent that has ended -> start the agent: it replaces the status',
  ],
  'the port of the embedded broker is in use': [
    'FAIL another program already uses 10.0.0.9:1883 -> another broker uses the port; connect to it with mqtt.url, or set mqtt.embedded.port',
  ],
} as const satisfies Record<string, readonly string[]>;

/** Settings of `mqtt` with files below /etc/swellsight, and the line of `swellsight check-config`. A test provokes each one. */
export const BROKER_FILE_EXAMPLES: readonly (readonly [settings: string, line: string])[] = [
  [
    '{ cert: pi.crt, key: other.key }',
    'mqtt.key: given /etc/swellsight/other.key, wanted the private key of the certificate in /etc/swellsight/pi.crt',
  ],
  [
    '{ cert: pi.key, key: pi.key }',
    'mqtt.cert: given /etc/swellsight/pi.key, wanted a certificate in PEM; this file contains a private key: are certificate and key exchanged?',
  ],
  [
    '{ ca: ca.der }',
    'mqtt.ca: given /etc/swellsight/ca.der, wanted a certificate in PEM; this file is a certificate in DER (openssl x509 -inform DER -in FILE -out NEW_FILE converts it)',
  ],
  [
    '{ cert: half.crt, key: pi.key }',
    'mqtt.cert: given /etc/swellsight/half.crt, wanted a certificate in PEM; the file is incomplete: a block has no END line',
  ],
  [
    '{ username: north, password_file: empty }',
    'mqtt.password_file: given /etc/swellsight/empty, which is empty, wanted a file that holds the secret',
  ],
];

/** What a browser or curl shows behind a proxy whose host name is not allowed. A test provokes it. */
export const HOST_EXAMPLE = {
  code: 'request_host_refused',
  detail: 'http.allowedHosts does not list the name of the Host header (gauge.example.org)',
  hint: 'add the name that clients or a proxy use to http.allowedHosts, or use http://127.0.0.1:8080',
} as const;
