// The web page in a real browser, over the scenario of scenario.py (HAKMEM_URL, HAKMEM_PIDS) and over a store of ten
// thousand incidents with hostile names (HAKMEM_MANY_URL). page_test.py starts both.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { close, faintTexts, fits, launch, longestTask, open } from './browser.mjs'
import { mockHeap } from './heap.mjs'

const url = process.env.HAKMEM_URL
const manyUrl = process.env.HAKMEM_MANY_URL
const pids = JSON.parse(process.env.HAKMEM_PIDS)
let browser

before(async () => (browser = await launch()))
after(() => browser.close())

const ask = async (path) => (await fetch(url + path)).json()
const groupAt = async (site, kind) =>
    (await ask(`/api/v1/groups?limit=1000&kind=${kind}`)).groups.find((group) => group.site?.includes(site))
const visible = (page, text) => page.getByText(text).locator('visible=true').first().waitFor()

test('the overview shows bugs and processes, and its charts move', async () => {
    const page = await open(browser, url)
    const { all_groups } = await ask('/api/v1/groups')
    await page.locator('.groups tbody tr').nth(all_groups - 1).waitFor()
    assert.equal(await page.locator('.tile .big').first().textContent(), String(all_groups))
    for (const text of ['Header overwritten', 'Double free', 'Free of an interior pointer', 'Free of a foreign pointer'])
        await visible(page, text)
    for (const name of Object.keys(pids)) await page.locator('.processes').getByText(name, { exact: true }).waitFor()
    await visible(page, 'Large header corrupt')

    const line = page.locator('.processes tbody tr', { hasText: 'order_service_traced' }).locator('.spark-line').first()
    const drawn = await line.getAttribute('d')
    await page.waitForFunction(([element, old]) => element.getAttribute('d') !== old, [await line.elementHandle(), drawn])
    const rate = await page.locator('.processes tbody tr', { hasText: 'order_service_traced' }).locator('.value').first().textContent()
    assert.match(rate, /^[1-9][\d,.]* ?k?\/s$/)
    assert.equal(await page.locator('.connection').textContent(), 'live')
    await close(page)
})

test('filters are part of the address', async () => {
    const page = await open(browser, url)
    const rows = page.locator('.groups tbody tr')
    await rows.first().waitFor()
    await page.getByRole('combobox', { name: 'Kind' }).selectOption('foreign_pointer')
    await page.waitForFunction(() => document.querySelectorAll('.groups tbody tr').length === 2)
    assert.equal(new URL(page.url()).search, '?kind=foreign_pointer')
    await page.getByRole('combobox', { name: 'Process' }).selectOption('wild')
    assert.equal(new URL(page.url()).search, '?process=wild&kind=foreign_pointer')
    await page.getByText('24 h', { exact: true }).click()
    assert.match(page.url(), /range=24h/)
    await page.reload()
    await page.waitForFunction(() => document.querySelectorAll('.groups tbody tr').length === 2)
    assert.equal(await page.getByRole('combobox', { name: 'Kind' }).inputValue(), 'foreign_pointer')
    await page.getByRole('button', { name: 'Clear' }).click()
    await page.waitForFunction(() => document.querySelectorAll('.groups tbody tr').length > 2)
    await page.goto(`${url}/?kind=double_free&process=nobody`)
    await visible(page, 'Nothing matches these filters.')
    await page.goto(`${url}/?kind=no_such_kind`)
    await visible(page, 'unknown kind')
    await close(page)
})

test('from a row to the incident and back', async () => {
    const page = await open(browser, url)
    const group = await groupAt('ship', 'header_overwritten')
    await page.locator('.groups tbody tr', { hasText: 'ship order_service.cpp' }).filter({ hasText: 'Header overwritten' }).click()
    await page.getByRole('heading', { level: 1, name: /^Header overwritten, found in ship\(\)/ }).waitFor()
    assert.equal(new URL(page.url()).pathname, `/incidents/${group.latest}`)
    await page.waitForFunction(() => document.title.startsWith('Header overwritten'))
    await page.goBack()
    await page.locator('.groups tbody tr').first().waitFor()
    await close(page)
})

test('a header overwritten: bytes, neighbours, source, what to do', async () => {
    const group = await groupAt('ship', 'header_overwritten')
    const page = await open(browser, `${url}/incidents/${group.latest}`) // a link that was shared
    const incident = await ask(`/api/v1/incidents/${group.latest}`)
    await visible(page, 'Somebody overwrote the header of a block of 32 bytes: 0x00 stands where 0xa1 should be.')
    const header = page.locator('.dump .byte.header')
    assert.equal(await header.count(), 1)
    assert.equal(await header.textContent(), '00')
    const shown = (await page.locator('.dump .byte').allTextContents()).join('')
    assert.equal(shown, incident.dump.bytes)
    await visible(page, 'expected was')
    assert.deepEqual(await page.locator('.slot.own .slot-header').allTextContents(), ['00'])
    assert.equal(await page.locator('.slot.own .slot-body span').textContent(), 'header corrupt')
    assert.equal(await page.locator('.slot.suspect-slot .slot-body span').textContent(), 'in use')
    await visible(page, 'Suspect:')
    const hit = page.locator('.source .hit')
    await hit.waitFor()
    assert.match(await hit.textContent(), /^\d+\s+std::free\(order\.customer\);/)
    await visible(page, `hakmem hunt ${incident.pid} ${incident.fingerprint}`)
    // Another frame's source opens on demand.
    await page.locator('.stack button.frame-head', { hasText: 'main' }).click()
    await page.locator('.source .hit').nth(1).waitFor()
    await page.getByRole('link', { name: incident.fingerprint }).click()
    await page.getByRole('heading', { level: 1, name: /Header overwritten at ship/ }).waitFor()
    await page.locator('.occurrences tbody tr').first().waitFor()
    await close(page)
})

test('a double free: three stacks side by side', async () => {
    const group = await groupAt('after_others', 'double_free')
    const page = await open(browser, `${url}/incidents/${group.latest}`)
    await visible(page, /after_others\(\) had freed it before/)
    assert.deepEqual(await page.locator('.stack h3').allTextContents(), ['Freed again here', 'Freed before here', 'Allocated here'])
    const boxes = await Promise.all((await page.locator('.stack').all()).map((stack) => stack.boundingBox()))
    assert.ok(boxes.every((box) => box.y === boxes[0].y) && boxes[0].x < boxes[1].x && boxes[1].x < boxes[2].x)
    await page.locator('.source .hit').nth(2).waitFor()
    const lines = await page.locator('.source .hit .line-text').allTextContents()
    assert.match(lines[0], /@free after_others/)
    assert.match(lines[1], /@first_free after_others/)
    assert.match(lines[2], /malloc\(size\)/)
    assert.equal(await page.locator('.slot.own .slot-body span').textContent(), 'free')
    const own = await page.locator('.stack').first().locator('.frame').count()
    await page.getByRole('button', { name: /frames of the runtime/ }).first().click()
    assert.ok((await page.locator('.stack').first().locator('.frame').count()) > own)
    await close(page)
})

test('every incident of the scenario has a page', async () => {
    const { groups } = await ask('/api/v1/groups?limit=1000')
    const page = await open(browser, url)
    for (const group of groups) {
        await page.goto(`${url}/incidents/${group.latest}`)
        await page.locator('.facts').waitFor()
        await page.locator('.next li').first().waitFor()
        if (group.site === null) assert.equal(await page.locator('.stack').count(), 0)
        else await page.locator('.stack .frame').first().waitFor()
        for (const said of [await page.locator('h1').textContent(), await page.locator('.story').textContent()])
            assert.ok(!/undefined|null|NaN|unknown code/.test(said), said)
        await fits(page)
    }
    await close(page)
})

test('a process: charts of its last minutes', async () => {
    const page = await open(browser, `${url}/processes/${pids.order_service}`)
    await page.getByRole('heading', { level: 1, name: 'order_service' }).waitFor()
    await page.locator('.uplot canvas').nth(1).waitFor()
    const points = await ask(`/api/v1/live?pid=${pids.order_service}`)
    assert.ok(points.processes[0].points.length >= 2)
    // The legend tells the latest rate: the chart has data.
    await page.waitForFunction(() => /^[1-9]/.test(document.querySelector('.u-legend .u-series:nth-child(2) .u-value').textContent))
    const picture = await page.locator('.uplot canvas').first().screenshot()
    await page.waitForTimeout(2500)
    assert.ok(!picture.equals(await page.locator('.uplot canvas').first().screenshot()), 'the chart does not move')
    await visible(page, 'one-byte header (fast path)')
    await page.getByRole('link', { name: 'Heap profile' }).click()
    await visible(page, 'The heap profile needs level trace, and this process runs at count')
    await visible(page, `hakmem set ${pids.order_service} level=trace`)
    await page.goto(`${url}/processes/1`)
    await visible(page, 'No process of that pid is watched.')
    await close(page)
})

test('the heap: zoom, search, the other direction, two moments', async () => {
    const page = await open(browser, url)
    await mockHeap(page)
    await page.goto(`${url}/processes/1/heap`)
    const frame = (name) => page.locator('.flame-frame', { hasText: name })
    await frame('shop::Cache::insert').waitFor()
    assert.equal(await frame('malloc').count(), await frame('sqlite3MemMalloc').count()) // the allocator's own is left out
    const box = async (name) => (await frame(name).boundingBox()).width
    const before = await box('shop::parse')
    assert.ok((await box('shop::Cache::insert')) > before) // width goes by bytes
    await frame('shop::parse').click()
    assert.ok((await box('shop::parse')) > 4 * before)
    await page.keyboard.press('Escape')
    await page.waitForFunction((width) => [...document.querySelectorAll('.flame-frame')].some((e) => e.textContent.includes('shop::Cache')), before)
    // By keys: down from the root twice, then zoom.
    await page.locator('.flame-frame[tabindex="0"]').focus()
    for (const key of ['ArrowUp', 'ArrowUp', 'ArrowUp', 'ArrowDown', 'ArrowDown', 'ArrowDown']) await page.keyboard.press(key)
    await page.waitForFunction(() => document.activeElement.getAttribute('aria-level') === '4')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Back to all' }).click()
    await page.getByLabel(/Mark frames/).fill('rows.cpp')
    assert.ok((await page.locator('.flame-frame.found').count()) >= 1)
    await page.getByLabel(/Mark frames/).fill('')
    await page.getByText('By allocation site').click()
    await page.waitForFunction(() => [...document.querySelectorAll('.flame-frame')].find((e) => e.textContent.includes('shop::Cache')).getAttribute('aria-level') === '2')
    // A second moment comes after five seconds.
    await page.waitForFunction(() => document.querySelectorAll('.labelled select option').length >= 6, null, { timeout: 15_000 })
    await page.getByLabel('Compared with').selectOption({ index: 2 })
    await page.locator('.flame-frame[class*="grew"]', { hasText: 'shop::Cache' }).waitFor()
    await page.locator('.flame-frame[class*="shrank"]', { hasText: 'shop::Pool' }).waitFor()
    assert.equal(await frame('shop::parse').count(), 0) // did not change
    assert.match(await page.locator('.sites tbody tr').first().textContent(), /shop::Cache.*\+390\.6 KiB/)
    assert.equal(await page.evaluate(() => window.hacked), undefined)
    await close(page)
})

test('a real heap', async () => {
    const page = await open(browser, `${url}/processes/${pids.order_service_traced}/heap`)
    // Too narrow for their names, beside what libstdc++ keeps.
    for (const name of ['take_order', 'copy_note']) await page.locator(`.flame-frame[aria-label^="${name}"]`).waitFor()
    const row = page.locator('.sites tbody tr', { hasText: 'copy_note' })
    assert.match(await row.textContent(), /order_service\.cpp:\d+/)
    await close(page)
})

test('a fleet: hosts and builds of a bug', async () => {
    const group = await groupAt('ship', 'header_overwritten')
    const build = { build_id: '6df3a00dfec925e0956775f6e9cc2ecc', module: 'order_service', hosts: 20, count: 5, first_seen: group.first_seen, last_seen: group.last_seen }
    const page = await open(browser, `${url}/-/healthy`)
    await page.route('**/api/v1/groups?*', async (route) => {
        const answer = await (await route.fetch()).json()
        const groups = answer.groups.map((one) => ({ ...one, hosts: 40, builds: [build], all_builds: 3 }))
        await route.fulfill({ json: { ...answer, groups } })
    })
    await page.route('**/api/v1/incidents?*', async (route) => {
        const rows = await (await route.fetch()).json()
        await route.fulfill({ json: rows.map((row) => ({ ...row, host: 'host-7', build_id: build.build_id })) })
    })
    await page.goto(url)
    const row = page.locator('.groups tbody tr', { hasText: 'ship order_service.cpp' })
    assert.match(await row.textContent(), /40 hosts, first seen in build-id 6df3a00dfec9 and since in 2 other builds/)
    // Links inside of a row that is a link itself.
    await row.getByRole('link', { name: '40 hosts' }).click()
    await page.waitForURL(`${url}/groups/${group.fingerprint}`)
    assert.match(await page.locator('.builds tbody tr').textContent(), /6df3a00dfec9 first seen here/)
    await page.locator('.occurrences tbody tr').first().getByRole('link', { name: 'host-7' }).click()
    await page.waitForURL(`${url}/?host=host-7`)
    await page.unrouteAll({ behavior: 'ignoreErrors' })
    await close(page)
})

test('names from programs are text', async () => {
    const page = await open(browser, manyUrl)
    await page.locator('.groups tbody tr').first().waitFor()
    const first = page.locator('.groups tbody tr').first()
    assert.match(await first.textContent(), /<img src=x onerror="window\.hacked=2">/)
    assert.match(await first.textContent(), /<script>window\.hacked=1<\/script>/)
    await first.click()
    await page.locator('.facts').waitFor()
    assert.match(await page.locator('.facts').textContent(), /<script>window\.hacked=1<\/script>/)
    await page.getByRole('button', { name: /of the runtime/ }).first().click({ timeout: 1000 }).catch(() => {})
    assert.match(await page.locator('.stack').first().textContent(), /<img src=x onerror="window\.hacked=2">::free/)
    await page.locator('.source-none').first().waitFor() // no lines of a path full of markup
    await page.getByRole('link', { name: /^[0-9a-f]{16}$/ }).click()
    await page.locator('.occurrences tbody tr').nth(19).waitFor()
    for (const path of ['/?process=%3Cscript%3Ewindow.hacked%3D4%3C/script%3E', '/incidents/%3Cimg%20src=x%20onerror=alert(1)%3E'])
        await page.goto(manyUrl + path)
    await page.waitForTimeout(300)
    assert.equal(await page.evaluate(() => window.hacked), undefined)
    assert.equal(await page.locator('#page script, #page img').count(), 0)
    await close(page)
})

test('five hundred bugs of ten thousand incidents stay smooth', async () => {
    const page = await open(browser, `${manyUrl}/-/healthy`)
    const rows = page.locator('.groups tbody tr')
    // No task keeps the page from answering for long, whatever is done.
    const steps = {
        loaded: async () => {
            await page.goto(manyUrl)
            await rows.nth(99).waitFor()
            await page.waitForTimeout(500)
        },
        'filtered and back': async () => {
            for (const kind of ['double_free', '']) {
                await page.getByRole('combobox', { name: 'Kind' }).selectOption(kind)
                await page.locator('.more-rows button').waitFor({ state: kind === '' ? 'visible' : 'hidden' })
            }
        },
        'all 500 shown': async () => {
            await page.getByRole('button', { name: 'Show more' }).click()
            await rows.nth(499).waitFor()
        },
        'scrolled and asked for again': () =>
            page.evaluate(async () => {
                for (let i = 0; i < 60; ++i) {
                    scrollBy(0, 250)
                    await new Promise((done) => setTimeout(done, 100))
                }
            }),
    }
    for (const [step, act] of Object.entries(steps)) {
        const longest = await longestTask(browser, page, act)
        console.log(`${step}: longest task ${longest.toFixed(1)} ms`)
        assert.ok(longest < 50, `${step}: a task of ${longest} ms`)
    }
    await close(page)
})

test('by keyboard alone', async () => {
    const page = await open(browser, url)
    await page.locator('.groups tbody tr').first().waitFor()
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip')
    await page.locator('.choices input').first().focus()
    assert.ok(await page.locator('.choices input[value="all"]').isChecked())
    await page.locator('.choices input[value="all"]').focus()
    await page.keyboard.press('ArrowLeft')
    await page.waitForFunction(() => location.search === '?range=30d')
    for (let i = 0; i < 12; ++i) {
        await page.keyboard.press('Tab')
        if (await page.evaluate(() => document.activeElement.classList.contains('row-link'))) break
    }
    await page.keyboard.press('Enter')
    await page.locator('.facts').waitFor()
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'MAIN')
    await close(page)
})

test('narrow screens', async () => {
    const group = await groupAt('ship', 'header_overwritten')
    const page = await open(browser, url, { viewport: { width: 360, height: 740 }, isMobile: true })
    await mockHeap(page)
    for (const [path, what] of [
        ['/', '.groups tbody tr'],
        ['/processes', '.processes tbody tr'],
        [`/processes/${pids.order_service}`, '.uplot canvas'],
        [`/incidents/${group.latest}`, '.dump'],
        [`/groups/${group.fingerprint}`, '.occurrences tbody tr'],
        ['/processes/1/heap', '.flame-frame'],
    ]) {
        await page.goto(url + path)
        await page.locator(what).first().waitFor()
        await fits(page)
    }
    await close(page)
})

// WCAG's contrast between two rgb(…) colours.
const contrast = (a, b) => {
    const light = (colour) => {
        const [red, green, blue] = colour.match(/[\d.]+/g).map((part) => {
            const value = part / 255
            return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x)
    return (high + 0.05) / (low + 0.05)
}

test('light and dark', async () => {
    const panels = []
    for (const colorScheme of ['light', 'dark']) {
        const page = await open(browser, url, { colorScheme })
        await page.locator('.groups tbody tr').first().waitFor()
        const colour = (selector, property) =>
            page.locator(selector).first().evaluate((element, name) => getComputedStyle(element)[name], property)
        const panel = await colour('.panel', 'backgroundColor')
        panels.push(panel)
        for (const text of ['.row-link', '.groups .time', '.where .caller', '.tile.bad .big', '.crumbs a, .more-rows a, .bar nav a'])
            if (await page.locator(text).count())
                assert.ok(contrast(await colour(text, 'color'), panel) >= 4.5, `${colorScheme} ${text}`)
        await close(page)
    }
    assert.ok(contrast(...panels) > 10)
    const page = await open(browser, url, { colorScheme: 'light' })
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.getByRole('button', { name: /Colours/ }).click() // light
    await page.getByRole('button', { name: /Colours/ }).click() // dark
    assert.notEqual(await background(), light)
    await page.reload()
    assert.notEqual(await background(), light) // remembered
    await close(page)
})

test('every text can be read', async () => {
    const traced = pids['redis-server'] ?? pids.order_service_traced
    const { groups } = await ask('/api/v1/groups?limit=1000')
    const incident = (kind) => `/incidents/${groups.find((group) => group.kind === kind).latest}`
    const views = [
        ['/', '.groups tbody tr'],
        ['/processes', '.processes tbody tr'],
        [`/groups/${groups[0].fingerprint}`, '.occurrences tbody tr'],
        [`/processes/${traced}`, '.uplot canvas'],
        [`/processes/${traced}/heap`, '.flame-frame'],
        ['/incidents/ffff', '.failure'],
        ...['header_overwritten', 'double_free', 'large_header_corrupt'].map((kind) => [incident(kind), '.dump']),
    ]
    for (const [view, what] of views)
        for (const colorScheme of ['light', 'dark']) {
            const page = await open(browser, url + view, { colorScheme })
            await page.locator(what).first().waitFor()
            await page.waitForTimeout(600)
            assert.deepEqual(await faintTexts(page), [], `${view} ${colorScheme}`)
            page.wrong = page.wrong.filter((text) => !/404/.test(text))
            await close(page)
        }
})

test('source is shown as it is written, and times name their zone', async () => {
    const ligatures = (selector) => page.locator(selector).first().evaluate((element) => getComputedStyle(element).fontVariantLigatures)
    const group = await groupAt('ship', 'header_overwritten')
    const page = await open(browser, `${url}/incidents/${group.latest}`, { timezoneId: 'Asia/Kolkata' })
    await page.locator('.source .hit').waitFor()
    assert.equal(await ligatures('.source pre'), 'none')
    assert.match(await page.locator('.facts').innerText(), /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\+05:30/)
    await close(page)
})

test('wrong links say so', async () => {
    const page = await open(browser, url)
    await page.goto(`${url}/incidents/ffffffffffffffff`)
    await page.getByRole('heading', { level: 1, name: 'No such incident' }).waitFor()
    await page.goto(`${url}/incidents/xyz`)
    await page.getByRole('heading', { level: 1, name: 'No such incident' }).waitFor()
    await page.goto(`${url}/groups/ffffffffffffffff`)
    await visible(page, 'No incident of that fingerprint')
    await close(page)
})

test('an exporter that is gone is said so', async () => {
    const page = await open(browser, url)
    await page.locator('.groups tbody tr').first().waitFor()
    await page.context().setOffline(true)
    await page.locator('.connection.off').waitFor()
    await page.locator('.groups tbody tr').first().waitFor() // what was known stays
    await page.context().setOffline(false)
    await page.locator('.connection.on').waitFor()
    page.wrong = page.wrong.filter((text) => !/ERR_INTERNET_DISCONNECTED/.test(text))
    await close(page)
})
