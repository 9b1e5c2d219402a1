// A time chart: uPlot in the page's colours. It is loaded with the first chart, for the overview has none of its size.
import { useEffect, useRef } from 'preact/hooks'
import type uPlot from 'uplot'

export interface Line {
    label: string
    colour: '--line-1' | '--line-2' | '--line-3'
    fill?: boolean
}

interface Props {
    label: string
    times: number[] // seconds since the epoch
    lines: Line[]
    values: (number | null)[][]
    format: (value: number) => string
    binary?: boolean // sizes: the axis goes by powers of two
    window: { begin: number; end: number } // seconds
}

const height = 190

const powersOfTwo = Array.from({ length: 50 }, (_, exponent) => 2 ** exponent)

const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

function options(props: Props, width: number): uPlot.Options {
    const axis = { stroke: colour('--muted'), grid: { stroke: colour('--grid'), width: 1 }, ticks: { show: false }, font: '11px Inter, sans-serif' }
    return {
        width,
        height,
        padding: [8, 8, 0, 0],
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        legend: { show: true, live: true },
        scales: {
            x: { range: () => [latest.get(props.label)?.begin ?? 0, latest.get(props.label)?.end ?? 1] },
            y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [
            { ...axis, size: 30, space: 70, values: '{HH}:{mm}:{ss}' },
            { ...axis, size: 70, ...(props.binary ? { incrs: powersOfTwo } : {}), values: (_chart, ticks) => ticks.map((tick) => props.format(tick)) },
        ],
        series: [
            { label: 'time', value: '{HH}:{mm}:{ss}' },
            ...props.lines.map((line) => ({
                label: line.label,
                stroke: colour(line.colour),
                fill: line.fill ? `color-mix(in srgb, ${colour(line.colour)} 14%, transparent)` : undefined,
                width: 1.5,
                spanGaps: false,
                points: { show: false },
                value: (_chart: uPlot, value: number | null) => (value === null ? '–' : props.format(value)),
            })),
        ],
    }
}

// The shown time of each chart: it moves without a new chart.
const latest = new Map<string, { begin: number; end: number }>()

// Where nobody points at a time, the legend tells the latest.
function tellLatest(chart: uPlot) {
    if (chart.cursor.idx === null || chart.cursor.idx === undefined) chart.setLegend({ idx: chart.data[0].length - 1 })
}

export function Chart(props: Props) {
    const place = useRef<HTMLDivElement>(null)
    const chart = useRef<uPlot | undefined>(undefined)
    latest.set(props.label, props.window)
    const data = [props.times, ...props.values] as uPlot.AlignedData
    const data_now = useRef(data)
    data_now.current = data

    useEffect(() => {
        const element = place.current!
        const width = () => {
            const { paddingLeft, paddingRight } = getComputedStyle(element)
            return element.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight)
        }
        let gone = false
        const make = async () => {
            const { default: UPlot } = await import('uplot')
            if (gone) return
            chart.current?.destroy()
            chart.current = new UPlot(options(props, width()), data_now.current, element)
            tellLatest(chart.current)
        }
        make().catch(() => {}) // the exporter is gone: the page's head says it
        const size = new ResizeObserver(() => chart.current?.setSize({ width: width(), height }))
        size.observe(element)
        // uPlot draws in colours that it got at the start.
        const scheme = matchMedia('(prefers-color-scheme: dark)')
        const theme = new MutationObserver(make)
        theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
        scheme.addEventListener('change', make)
        return () => {
            gone = true
            size.disconnect()
            theme.disconnect()
            scheme.removeEventListener('change', make)
            chart.current?.destroy()
            chart.current = undefined
        }
    }, [])

    useEffect(() => {
        const made = chart.current
        if (made === undefined) return
        made.setData(data)
        tellLatest(made)
    })

    return <div class="chart-place" ref={place} role="img" aria-label={props.label} />
}
