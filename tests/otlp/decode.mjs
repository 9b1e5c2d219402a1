// Decodes what a receiver of OTLP logs was sent, by OpenTelemetry's own JavaScript, and prints a line of JSON a record.
//
//   decode.mjs FOLDER CACHE      FOLDER has the bodies: NUMBER.pb and NUMBER.json
import * as fs from 'node:fs'
import * as path from 'node:path'
import { createRequire } from 'node:module'
import { packages } from '../../exporters/web/page/packages.mjs'

const [folder, cache] = process.argv.slice(2)
const modules = packages(import.meta.dirname, cache)
const load = createRequire(path.join(modules, 'x.js'))
const root = load(path.join(modules, '@opentelemetry/otlp-transformer/build/src/generated/root.js'))
const Request = root.opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest

const value = (any) => any?.stringValue ?? (any?.intValue === undefined || any.intValue === null ? any : String(any.intValue))
const attributes = (list) => Object.fromEntries(list.map(({ key, value: any }) => [key, value(any)]))

for (const name of fs.readdirSync(folder).sort()) {
    const body = fs.readFileSync(path.join(folder, name))
    const message = name.endsWith('.json') ? Request.fromObject(JSON.parse(body.toString())) : Request.decode(body)
    const fault = Request.verify(message)
    if (fault) throw new Error(`${name}: ${fault}`)
    for (const { resource, scopeLogs } of message.resourceLogs)
        for (const { scope, logRecords } of scopeLogs)
            for (const record of logRecords)
                console.log(
                    JSON.stringify({
                        resource: attributes(resource.attributes),
                        scope: scope.name,
                        time: String(record.timeUnixNano),
                        severity: record.severityNumber,
                        event: record.eventName,
                        body: value(record.body),
                        attributes: attributes(record.attributes),
                    }),
                )
}
