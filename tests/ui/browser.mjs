// Debian's Chromium, driven by playwright-core, and pages in it that fail a test where something goes wrong unseen.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import * as path from 'node:path'

const { chromium } = createRequire(path.join(process.env.HAKMEM_UI_PACKAGES, 'x.js'))('playwright-core')

export const launch = () =>
    chromium.launch({
        executablePath: process.env.HAKMEM_CHROMIUM,
        args: ['--no-sandbox', '--disable-dev-shm-usage', '--font-render-hinting=none'],
    })

// A page at `url` with all that it did wrong in `page.wrong`: errors, refused content, requests to other hosts.
export async function open(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, locale: 'en-GB', ...options })
    const page = await context.newPage()
    page.wrong = []
    page.on('pageerror', (error) => page.wrong.push(`error: ${error.stack}`))
    page.on('console', (message) => {
        // A refusal by the API is an answer, and the browser writes it down as an error.
        if (message.type() === 'error' && !/status of 40[04]/.test(message.text())) page.wrong.push(message.text())
    })
    const host = new URL(url).host
    page.on('request', (request) => {
        if (new URL(request.url()).host !== host) page.wrong.push(`request to ${request.url()}`)
    })
    await page.goto(url)
    return page
}

export async function close(page) {
    await page.context().close()
    assert.deepEqual(page.wrong, [])
}

// Nothing sticks out sideways.
export async function fits(page) {
    const { content, window } = await page.evaluate(() => ({
        content: document.documentElement.scrollWidth,
        window: document.documentElement.clientWidth,
    }))
    assert.ok(content <= window, `${page.url()}: ${content} px wide in a window of ${window}`)
}
