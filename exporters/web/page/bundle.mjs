// Bundles the web page and writes it as a C++ table (web/assets.h) that is compiled into the command:
//
//   node bundle.mjs CACHE-FOLDER OUTPUT.cpp
//
// The npm packages are those of package-lock.json, nothing else.
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'

import { packages } from './packages.mjs'

const page = path.dirname(fileURLToPath(import.meta.url))
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16)

async function bundle(modules) {
    const esbuild = await import(pathToFileURL(path.join(modules, 'esbuild/lib/main.js')).href)
    const result = await esbuild.build({
        entryPoints: [path.join(page, 'src/main.tsx'), path.join(page, 'src/style.css')],
        nodePaths: [modules],
        bundle: true,
        splitting: true,
        minify: true,
        format: 'esm',
        target: ['chrome110', 'firefox110', 'safari16'],
        jsx: 'automatic',
        jsxImportSource: 'preact',
        loader: { '.woff2': 'file' },
        entryNames: '[name]-[hash]',
        assetNames: '[name]-[hash]',
        chunkNames: '[name]-[hash]',
        publicPath: '/assets',
        outdir: '/assets',
        legalComments: 'eof',
        logLevel: 'warning',
        write: false,
    })
    return result.outputFiles.map((file) => ({ name: path.basename(file.path), body: Buffer.from(file.contents) }))
}

const types = {
    '.css': 'text/css; charset=utf-8',
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.woff2': 'font/woff2',
}

function assets(files) {
    const named = (start, end) => `/assets/${files.find((file) => file.name.startsWith(start) && file.name.endsWith(end)).name}`
    const index = fs
        .readFileSync(path.join(page, 'index.html'), 'utf8')
        .replace('/src/style.css', named('style-', '.css'))
        .replace('/src/main.tsx', named('main-', '.js'))
        .replace(/\/src\/(\S+)\.woff2/g, (_, font) => named(font, '.woff2'))
    return [
        { path: '/index.html', body: Buffer.from(index), immutable: false },
        { path: '/favicon.svg', body: fs.readFileSync(path.join(page, 'favicon.svg')), immutable: false },
        ...files.map((file) => ({ path: `/assets/${file.name}`, body: file.body, immutable: true })),
    ]
}

const literal = (bytes) => {
    const lines = []
    for (let at = 0; at < bytes.length; at += 32) {
        let line = ''
        for (const byte of bytes.subarray(at, at + 32)) line += `\\${byte.toString(8).padStart(3, '0')}`
        lines.push(`    "${line}"`)
    }
    return lines.join('\n')
}

function source(list) {
    let out = '// Made by exporters/web/page/bundle.mjs.\n#include "web/assets.h"\n\nnamespace hakmem {\nnamespace {\n\n'
    const rows = []
    list.forEach((asset, i) => {
        const type = types[path.extname(asset.path)]
        const zipped = gzipSync(asset.body, { level: 9 })
        const gain = zipped.length < asset.body.length * 0.9 // fonts are compressed already
        out += `constexpr char kBody${i}[] =\n${literal(asset.body)};\n`
        if (gain) out += `constexpr char kGzip${i}[] =\n${literal(zipped)};\n`
        const gzip = gain ? `{kGzip${i}, sizeof kGzip${i} - 1}` : '{}'
        rows.push(
            `    {"${asset.path}", "${type}", {kBody${i}, sizeof kBody${i} - 1}, ${gzip},` +
                ` "\\"${hash(asset.body)}\\"", ${asset.immutable}},`,
        )
    })
    out += `\nconstexpr Asset kAssets[] = {\n${rows.join('\n')}\n};\n\n}  // namespace\n\n`
    out += 'const Asset *find_asset(std::string_view path) {\n    for (const Asset &asset : kAssets)\n'
    out += '        if (asset.path == path) return &asset;\n    return nullptr;\n}\n\n}  // namespace hakmem\n'
    return out
}

const [cache, output] = process.argv.slice(2)
fs.writeFileSync(output, source(assets(await bundle(packages(page, path.resolve(cache))))))
