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

// The longest task of the page's main thread while `act` goes on, in ms of processor time: what other programs of a busy
// machine take is not in it.
export async function longestTask(browser, page, act) {
    await browser.startTracing(page, { categories: ['toplevel', 'blink.user_timing'] })
    await act()
    await page.evaluate(() => performance.mark('the page'))
    const { traceEvents } = JSON.parse(await browser.stopTracing())
    const own = traceEvents.find((event) => event.name === 'the page')
    const tasks = traceEvents.filter((event) => event.name.endsWith('::RunTask') && event.pid === own.pid && event.tid === own.tid)
    assert.ok(tasks.length > 0)
    return Math.max(...tasks.map((task) => task.tdur ?? 0)) / 1000
}

// Nothing sticks out sideways.
export async function fits(page) {
    const { content, window } = await page.evaluate(() => ({
        content: document.documentElement.scrollWidth,
        window: document.documentElement.clientWidth,
    }))
    assert.ok(content <= window, `${page.url()}: ${content} px wide in a window of ${window}`)
}

// Texts of the view whose contrast with what is behind them is below WCAG's AA, each once. What stands on a gradient is
// left to the eye.
export async function faintTexts(page) {
    return page.evaluate(() => {
        const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
        const rgba = (colour) => {
            canvas.clearRect(0, 0, 1, 1)
            canvas.fillStyle = colour
            canvas.fillRect(0, 0, 1, 1)
            const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data
            return [red, green, blue, alpha / 255]
        }
        const over = ([r, g, b, a], [red, green, blue]) => [r * a + red * (1 - a), g * a + green * (1 - a), b * a + blue * (1 - a)]
        const luminance = (colour) => {
            const [red, green, blue] = colour.map((part) => {
                const value = part / 255
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
            })
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue
        }
        // Undefined where it cannot be told.
        const behind = (element) => {
            const layers = []
            for (let at = element; at !== null; at = at.parentElement) {
                const style = getComputedStyle(at)
                if (style.backgroundImage !== 'none' || style.opacity !== '1') return undefined
                layers.push(rgba(style.backgroundColor))
                if (layers.at(-1)[3] === 1) break
            }
            return layers.reduceRight((colour, layer) => over(layer, colour), [255, 255, 255])
        }
        const found = new Map()
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
        while (texts.nextNode()) {
            const element = texts.currentNode.parentElement
            const style = getComputedStyle(element)
            const size = Number.parseFloat(style.fontSize)
            const text = texts.currentNode.textContent.trim()
            if (text === '' || size === 0 || !element.checkVisibility() || element.closest('.offscreen, option, [aria-hidden]')) continue
            const background = behind(element)
            if (background === undefined) continue
            const [high, low] = [luminance(over(rgba(style.color), background)), luminance(background)].sort((x, y) => y - x)
            const contrast = (high + 0.05) / (low + 0.05)
            const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
            const key = `${element.tagName}.${element.className}`
            if (contrast < (large ? 3 : 4.5) && !found.has(key)) found.set(key, `${key} "${text.slice(0, 30)}" ${contrast.toFixed(2)}`)
        }
        return [...found.values()]
    })
}
