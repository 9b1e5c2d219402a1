// Measures how quick the overview is in Chromium: node smooth.mjs URL; prints JSON. bench/exporter starts it.
import { close, launch, longestTask, open } from './browser.mjs'

const url = process.argv[2]
const rows = '.groups tbody tr'
const all = 500

// In the page, before anything of its own: tasks that keep it from answering, and when its rows are there.
function watch(selector) {
    window.tasks = []
    window.rowsAt = {}
    new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) window.tasks.push({ startTime, duration })
    }).observe({ type: 'longtask', buffered: true })
    new MutationObserver(() => {
        const count = document.querySelectorAll(selector).length
        for (const wanted of [1, 100]) if (count >= wanted) window.rowsAt[wanted] ??= performance.now()
    }).observe(document, { childList: true, subtree: true })
}

const longest = (tasks) => Math.max(0, ...tasks.map(({ duration }) => duration))

const browser = await launch()
const page = await open(browser, new URL('/-/healthy', url).href)
await page.addInitScript(watch, rows)
const load = async () => {
    await page.goto(url)
    await page.locator(rows).nth(99).waitFor()
    await page.waitForTimeout(500)
}
await load()
const loaded = await page.evaluate(() => ({ tasks: window.tasks, at: window.rowsAt }))
const interactive = Math.max(loaded.at[100], ...loaded.tasks.map(({ startTime, duration }) => startTime + duration))

// One kind: its rows are there when all of them have its name.
const filter = await page.evaluate(async (selector) => {
    const select = [...document.querySelectorAll('.filters select')].at(-1)
    const before = document.querySelector(selector).textContent
    const began = performance.now()
    select.value = select.options[2].value
    select.dispatchEvent(new Event('change', { bubbles: true }))
    while (document.querySelector(selector)?.textContent === before && performance.now() - began < 5000)
        await new Promise((done) => requestAnimationFrame(done))
    return performance.now() - began
}, rows)

const busyLoad = await longestTask(browser, page, load)
await page.getByRole('button', { name: 'Show more' }).click()
await page.locator(rows).nth(all - 1).waitFor()
const scrolled = () =>
    page.evaluate(async () => {
        window.tasks.length = 0
        scrollTo(0, 0)
        const gaps = []
        const ends = performance.now() + 6000
        for (let last = performance.now(); last < ends; ) {
            scrollBy(0, 40)
            const now = await new Promise((done) => requestAnimationFrame(() => done(performance.now())))
            gaps.push(now - last)
            last = now
        }
        return { tasks: window.tasks, gaps }
    })
const scroll = await scrolled()
const busyScroll = await longestTask(browser, page, scrolled)
await close(page)
await browser.close()
console.log(
    JSON.stringify({
        first_row_ms: loaded.at[1],
        interactive_ms: interactive,
        loading_longest_ms: longest(loaded.tasks),
        loading_busy_ms: busyLoad,
        filter_ms: filter,
        scroll_longest_ms: longest(scroll.tasks),
        scroll_busy_ms: busyScroll,
        frames: scroll.gaps.length,
        slow_frames: scroll.gaps.filter((gap) => gap > 50).length,
    }),
)
