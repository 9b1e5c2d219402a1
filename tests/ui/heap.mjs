// A made-up heap profile in the form of /api/v1/processes/PID/heap, one more of it each time it is asked for: a cache
// that grows and a pool that shrinks.
const frame = (name, file, line, module = '/usr/bin/shop') => ({ function: name, file: `/src/shop/${file}`, line, module })
const malloc = { function: 'malloc', module: '/usr/lib/libhakmem-diag.so' }
const main = frame('main', 'main.cpp', 20)
const serve = frame('shop::Server::serve(shop::Request const&)', 'server.cpp', 88)

const site = (stack, liveBytes, liveObjects, totalBytes) => ({
    stack: [malloc, ...stack, serve, main],
    live_bytes: liveBytes,
    live_objects: liveObjects,
    total_bytes: totalBytes,
    total_objects: liveObjects * 7,
})

export function heap(round) {
    return {
        pid: 1,
        process: 'shop',
        level: 'trace',
        time_ms: 1_790_000_000_000 + round * 5000,
        live_bytes: 9_000_000,
        sites: [
            site([frame('shop::Cache::insert(std::string)', 'cache.cpp', 42), frame('shop::lookup', 'lookup.cpp', 7)], 3_000_000 + round * 400_000, 900 + round * 120, 9_000_000),
            site([frame('shop::Pool::grow()', 'pool.cpp', 17), frame('shop::connect', 'connect.cpp', 64)], Math.max(0, 2_000_000 - round * 200_000), 400, 6_000_000),
            site([frame('shop::parse(char const*)', 'parse.cpp', 130)], 1_200_000, 5000, 80_000_000),
            site([frame('std::vector<shop::Row>::reserve', 'row.h', 12), frame('shop::load_rows', 'rows.cpp', 31)], 700_000, 12, 700_000),
            site([frame('<img src=x onerror="window.hacked=3">', 'row.h', 99), frame('shop::load_rows', 'rows.cpp', 35)], 400_000, 3, 500_000),
            site([{ function: 'sqlite3MemMalloc', module: '/usr/lib/libsqlite3.so.0' }, frame('shop::load_rows', 'rows.cpp', 40)], 800_000, 350, 3_000_000),
        ],
    }
}

// Answers the heap request of `page` with it.
export async function mockHeap(page) {
    let round = 0
    await page.route('**/api/v1/processes/*/heap', (route) => route.fulfill({ json: heap(round++) }))
}
