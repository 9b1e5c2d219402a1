// The page's pure functions: what a dump's bytes belong to, the neighbourhood, trees of heap profiles, numbers.
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'

import { heap } from './heap.mjs'

const esbuild = createRequire(path.join(process.env.HAKMEM_PAGE_PACKAGES, 'x.js'))('esbuild')
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hakmem-test-'))
after(() => fs.rmSync(folder, { recursive: true }))

function load(name) {
    const outfile = path.join(folder, `${name}.mjs`)
    esbuild.buildSync({ entryPoints: [path.join(process.env.HAKMEM_PAGE, 'src', `${name}.ts`)], bundle: true, format: 'esm', outfile })
    return import(pathToFileURL(outfile).href)
}

const memory = await load('memory')
const flametree = await load('flametree')
const format = await load('format')
const series = await load('series')

const incident = (more = {}) => ({
    kind: 'header_overwritten',
    address: '0x7f0000001040',
    block: '0x7f0000001040',
    size_class: 32,
    block_bytes: 32,
    offset: 0,
    header: { found: '0x00', expected: '0xa1' },
    dump: { address: '0x7f000000102f', bytes: '41'.repeat(16) + '00' + '42'.repeat(16) },
    stacks: {},
    suspect: { address: '0x7f0000001020', size_class: 32, block_bytes: 32, state: 'in_use' },
    ...more,
})

test('header bytes', () => {
    assert.equal(memory.headerMeaning(0xa4), 'in use')
    assert.equal(memory.headerMeaning(0x84), 'free')
    assert.equal(memory.headerMeaning(0xc4), 'in use, watched')
    assert.equal(memory.headerMeaning(0xe1), 'large or aligned block')
    for (const byte of [0x00, 0x41, 0x7f]) assert.equal(memory.headerMeaning(byte), 'none')
    assert.match(memory.byteHint(0x41), /“A”/)
    assert.match(memory.byteHint(0), /end of a string/)
})

test('what the bytes of a dump belong to', () => {
    const bytes = memory.dumpBytes(incident())
    assert.equal(bytes.length, 33)
    assert.deepEqual(bytes.slice(0, 16).map((byte) => byte.role), Array(16).fill('left'))
    assert.equal(bytes[16].role, 'header')
    assert.equal(bytes[16].address, 0x7f000000103fn)
    assert.deepEqual(bytes.slice(17).map((byte) => byte.role), Array(16).fill('block'))
    // Small slots: the dump reaches the headers of the neighbours.
    const small = memory.dumpBytes(incident({ size_class: 16, block_bytes: 16 }))
    assert.equal(small[0].role, 'other-header')
    assert.equal(small[32].role, 'other-header')
    assert.equal(small.filter((byte) => byte.role === 'header').length, 1)
    assert.deepEqual(memory.dumpBytes(incident({ dump: null })), [])
    // No small block: everything behind the header is the block's.
    const large = memory.dumpBytes(incident({ size_class: 'large', block_bytes: 20000 }))
    assert.equal(large[32].role, 'block')
    // The address of a foreign pointer, no block.
    assert.equal(memory.dumpBytes(incident({ block: undefined }))[16].role, 'header')
})

test('the neighbourhood', () => {
    const states = (given) => memory.neighbourhood(given).map((slot) => slot.state)
    assert.deepEqual(states(incident()), ['unknown', 'in use', 'corrupt', 'unknown', 'unknown'])
    const slots = memory.neighbourhood(incident())
    assert.deepEqual(slots.map((slot) => slot.suspect), [false, true, false, false, false])
    assert.equal(slots[1].address, 0x7f0000001020n)
    assert.equal(slots[2].header, 0)
    assert.deepEqual(states(incident({ suspect: undefined })), ['unknown', 'unknown', 'corrupt', 'unknown', 'unknown'])
    assert.equal(states(incident({ header: { found: '0x81', expected: '0xa1' } }))[2], 'free')
    assert.equal(states(incident({ header: { found: '0xa5', expected: '0xa1' } }))[2], 'corrupt') // another class's
    // 16-byte slots: the dump tells the neighbours' headers.
    const bytes = `80${'00'.repeat(15)}41${'00'.repeat(15)}a0`
    const small = incident({
        size_class: 16, block_bytes: 16, suspect: undefined, header: { found: '0x41', expected: '0xa0' },
        dump: { address: '0x7f000000102f', bytes },
    })
    assert.deepEqual(states(small), ['unknown', 'free', 'corrupt', 'in use', 'unknown'])
    assert.deepEqual(memory.neighbourhood(incident({ size_class: 'large' })), [])
    assert.deepEqual(memory.neighbourhood(incident({ size_class: null, block: undefined, block_bytes: undefined })), [])
})

const sum = (node, value) => node.children.reduce((total, child) => total + value(child), 0)
const find = (node, name) =>
    node.frame?.function.includes(name) ? node : node.children.map((child) => find(child, name)).find((found) => found)

test('a tree of a profile', () => {
    const stacks = new Map()
    const now = flametree.momentOf(heap(0), stacks)
    const root = flametree.tree(stacks, 'live_bytes', now, undefined, false)
    const total = heap(0).sites.reduce((bytes, site) => bytes + site.live_bytes, 0)
    assert.equal(root.now, total)
    assert.equal(root.children.length, 1)
    assert.equal(root.children[0].frame.function, 'main')
    assert.equal(find(root, 'malloc'), undefined) // none of the allocator's own
    const check = (node) => {
        assert.equal(node.self + sum(node, (child) => child.now), node.now, node.frame?.function)
        node.children.forEach(check)
    }
    check(root)
    // One frame for a function, whatever the line of the call; it tells a line only if there is but one.
    const rows = find(root, 'load_rows')
    assert.equal(rows.children.length, 3)
    assert.equal(rows.frame.line, undefined)
    assert.equal(find(root, 'shop::lookup').frame.line, 7)
    const inverted = flametree.tree(stacks, 'live_objects', now, undefined, true)
    assert.equal(inverted.children.length, 6)
    assert.equal(inverted.now, heap(0).sites.reduce((blocks, site) => blocks + site.live_objects, 0))
})

test('the difference of two moments', () => {
    const stacks = new Map()
    const before = flametree.momentOf(heap(0), stacks)
    const now = flametree.momentOf(heap(3), stacks)
    const root = flametree.tree(stacks, 'live_bytes', now, before, false)
    const cache = find(root, 'Cache::insert')
    assert.deepEqual([cache.before, cache.now, cache.self], [3_000_000, 4_200_000, 1_200_000])
    const pool = find(root, 'Pool::grow')
    assert.equal(pool.self, 600_000)
    assert.ok(pool.now < pool.before)
    assert.equal(find(root, 'shop::parse'), undefined)
    // A site that is gone altogether is a difference as well.
    const gone = flametree.momentOf({ ...heap(3), sites: heap(3).sites.slice(1) }, stacks)
    assert.equal(find(flametree.tree(stacks, 'live_bytes', gone, before, false), 'Cache::insert').self, 3_000_000)
    const rows = flametree.siteRows(stacks, 'live_bytes', now, before)
    assert.deepEqual(rows.map((row) => row.frame.function), ['shop::Cache::insert(std::string)', 'shop::Pool::grow()'])
    assert.equal(flametree.siteRows(stacks, 'total_bytes', now, undefined)[0].frame.function, 'shop::parse(char const*)')
})

test('equal stacks of one profile are one', () => {
    const stacks = new Map()
    const [site] = heap(0).sites
    const moment = flametree.momentOf({ ...heap(0), sites: [site, site] }, stacks)
    assert.equal(stacks.size, 1)
    assert.equal([...moment.sums.values()][0].live_bytes, 2 * site.live_bytes)
})

test('numbers as people read them', () => {
    assert.equal(format.bytes(0), '0 B')
    assert.equal(format.bytes(1023), '1023 B')
    assert.equal(format.bytes(1536), '1.50 KiB')
    assert.equal(format.bytes(1024 * 1024), '1.00 MiB')
    assert.equal(format.bytes(-2048), '−2.00 KiB')
    assert.equal(format.count(9999), '9,999')
    assert.equal(format.count(85_900), '85.9 k')
    assert.equal(format.count(4_530_000), '4.53 M')
    assert.equal(format.plural(1, 'time'), '1 time')
    assert.equal(format.plural(20, 'process', 'processes'), '20 processes')
    assert.equal(format.duration(59), '59 s')
    assert.equal(format.duration(7300), '2 h 1 min')
    assert.equal(format.duration(86400 * 9), '9 d')
    assert.equal(format.ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:10:00Z')), '10 min ago')
})

test('a sum over processes has no holes where a second has no point, or two', () => {
    const steady = [0, 990, 1980, 3010, 4020, 4990].map((time) => time + 10_000)
    const other = [500, 1490, 2480, 4100, 4600].map((time) => time + 10_000)
    const sum = series.sumOfSeries([
        { times: steady, values: steady.map(() => 5) },
        { times: other, values: [null, 2, 2, 2, 2] },
    ])
    assert.deepEqual(sum, { times: [10_000, 11_000, 12_000, 13_000, 14_000], values: [5, 7, 7, 7, 7] })
    assert.deepEqual(series.sumOfSeries([]), { times: [], values: [] })
})

test('times are written as logs write them', () => {
    assert.match(format.dateTime('2026-11-24T23:51:05.506039Z'), /^2026-11-2[45] \d\d:51:05 UTC([+-]\d\d:\d\d)?$/)
})
