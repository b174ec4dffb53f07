import mqttPacket from 'mqtt-packet';

// Importing this file disables a cache of the library mqtt-packet, for the MQTT client and for the embedded broker. For
// its first packet, that cache creates a buffer for each of the 65,536 packet identifiers: 9 MB until the process ends,
// to save one microsecond per message.
mqttPacket.writeToStream.cacheNumbers = false;
