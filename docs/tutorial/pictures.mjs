// Takes pictures of the tutorial: node pictures.mjs FOLDER NAME…, over an exporter that has the tutorial's incident. Checks
// that each shows what the text says of it.
import assert from 'node:assert/strict'
import * as path from 'node:path'

import { close, launch, open } from '../../tests/ui/browser.mjs'

const [folder, ...wanted] = process.argv.slice(2)
const { HAKMEM_URL: url, HAKMEM_INCIDENT: incident, HAKMEM_PID: pid } = process.env

// name, path, what must be there, words that must be seen
const shots = [
    ['overview', '/', '.groups tbody tr', ['tinyproxy', 'free_request_struct', 'at level count', 'seen 21 times']],
    ['incident', `/incidents/${incident}`, '.source .hit', ['free_request_struct', 'reqs.c', 'HTTP/1.1']],
    ['heap', `/processes/${pid}/heap`, '.flame-frame', ['tinyproxy', 'process_request']],
]

const browser = await launch()
for (const [name, view, present, words] of shots) {
    if (!wanted.includes(name)) continue
    const page = await open(browser, url + view)
    await page.locator(present).first().waitFor()
    await page.evaluate(() => document.fonts.ready)
    // Little is live between two requests: what was allocated in all shows more.
    if (name === 'heap') await page.getByText('Total bytes', { exact: true }).first().click()
    await page.waitForTimeout(500)
    const seen = await page.locator('body').innerText()
    for (const word of words) assert.ok(seen.includes(word), `${name}: no ${word} in\n${seen}`)
    await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true })
    await close(page)
}
await browser.close()
