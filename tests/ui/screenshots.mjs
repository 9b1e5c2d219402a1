// Takes the pictures of the page for the documents: node screenshots.mjs FOLDER, over the scenario of scenario.py.
// docs/screenshots starts it.
import * as path from 'node:path'

import { close, launch, open } from './browser.mjs'

const folder = process.argv[2]
const url = process.env.HAKMEM_URL
const pids = JSON.parse(process.env.HAKMEM_PIDS)
const traced = pids['redis-server'] ?? pids.order_service_traced
const browser = await launch()
const { groups } = await (await fetch(`${url}/api/v1/groups?limit=1000`)).json()
const incident = (kind, site) => `/incidents/${groups.find((group) => group.kind === kind && group.site?.includes(site)).latest}`

// name, path, what must be there, how the browser is
const shots = [
    ['overview', '/', '.groups tbody tr', {}],
    ['overview-dark', '/', '.groups tbody tr', { colorScheme: 'dark' }],
    ['overview-narrow', '/', '.groups tbody tr', { viewport: { width: 390, height: 844 } }],
    ['header-overwritten', incident('header_overwritten', 'ship'), '.source .hit', {}],
    ['double-free', incident('double_free', 'after_others'), '.source .hit >> nth=2', {}],
    ['double-free-dark', incident('double_free', 'after_others'), '.source .hit >> nth=2', { colorScheme: 'dark' }],
    ['incident-narrow', incident('header_overwritten', 'ship'), '.source .hit', { viewport: { width: 390, height: 844 } }],
    ['group', `/groups/${groups[0].fingerprint}`, '.occurrences tbody tr', {}],
    ['nothing-found', '/?process=nobody&range=1h', '.nothing', {}],
    ['no-such-incident', '/incidents/ffffffffffffffff', 'main h1', {}],
    ['heap', `/processes/${traced}/heap`, '.flame-frame >> nth=20', {}],
    ['heap-dark', `/processes/${traced}/heap`, '.flame-frame >> nth=20', { colorScheme: 'dark' }],
    ['process', `/processes/${traced}`, '.uplot canvas', {}],
    ['process-dark', `/processes/${traced}`, '.uplot canvas', { colorScheme: 'dark' }],
]

for (const [name, view, present, options] of shots) {
    const page = await open(browser, url + view, options)
    await page.locator(present).first().waitFor()
    await page.evaluate(() => document.fonts.ready)
    await page.waitForTimeout(1500)
    if (name === 'heap-dark') {
        // What changed since a moment before.
        await page.waitForTimeout(11_000)
        await page.getByLabel('Compared with').selectOption({ index: 3 })
        await page.waitForTimeout(300)
    }
    await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true })
    page.wrong = page.wrong.filter((text) => !/status of 404/.test(text))
    await close(page)
    console.log(`${name}.png`)
}
await browser.close()
