"""Scripts for the page: drag and drop, which playwright cannot do with files, and a look at the canvas."""

from __future__ import annotations

# Return the data of a drag of the asset with this name: texts by type.
DRAG = """
name => {
    const cell = [...document.querySelectorAll('.ca-cell:not([hidden])')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    cell.dispatchEvent(new DragEvent('dragstart', { bubbles: true, cancelable: true, dataTransfer }))
    return Object.fromEntries([...dataTransfer.types].map(type => [type, dataTransfer.getData(type)]))
}
"""

# Return whether a node on the canvas shows this text. Older pages have the graph as `app.graph`.
ON_CANVAS = """
text => (app.rootGraph ?? app.graph)?.nodes.some(
    node => node.widgets_values?.[0] === text || node.widgets?.some(widget => widget.value === text)
)
"""

# Drop a text file onto the panel.
DROP = """
({ name, text }) => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([text], name, { type: 'text/plain' }))
    for (const type of ['dragenter', 'dragover', 'drop']) {
        const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer })
        document.querySelector('.ca-tab-content').dispatchEvent(event)
    }
}
"""

# Make types of nodes known to the page that the standalone host lacks.
ADD_NODE_TYPES = """
async () => {
    const combo = names => [names, {}]
    const add = (name, required, output) => app.registerNodeDef(name, {
        name, display_name: name, description: '', category: 'loaders', python_module: 'nodes', output_node: false,
        input: { required }, output, output_name: output, output_is_list: output.map(() => false),
    })
    const strength = ['FLOAT', { default: 1 }]
    await add('CheckpointLoaderSimple', { ckpt_name: combo(['dreamscape_xl.safetensors']) }, ['MODEL', 'CLIP', 'VAE'])
    await add('LoraLoader', {
        model: ['MODEL'], clip: ['CLIP'], lora_name: combo(['film_grain.safetensors', 'ink_style.safetensors']),
        strength_model: strength, strength_clip: strength,
    }, ['MODEL', 'CLIP'])
}
"""

# Return the nodes of the graph by type: the values of their widgets, and the types of the nodes at their inputs.
GRAPH = """
() => {
    const graph = app.canvas.graph
    const nodes = graph.nodes ?? graph._nodes
    return Object.fromEntries(nodes.map(node => [node.type, {
        values: (node.widgets ?? []).map(widget => widget.value),
        sources: (node.inputs ?? []).map((_, slot) => node.getInputNode(slot)?.type).filter(Boolean),
    }]))
}
"""

# Drag the asset with this name onto the first node of a type, or onto the free canvas.
DRAG_ONTO = """
({ name, node }) => {
    const cell = [...document.querySelectorAll('.ca-cell:not([hidden])')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    const fire = (target, type, [clientX, clientY] = [0, 0]) => target.dispatchEvent(
        new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer, clientX, clientY }))
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const found = node && app.canvas.graph.nodes.find(each => each.type === node)
    const place = found
        ? app.canvasPosToClientPos([found.pos[0] + 20, found.pos[1] + 10]) : [right - 300, bottom - 300]
    fire(cell, 'dragstart')
    fire(app.canvas.canvas, 'dragover', place)
    fire(app.canvas.canvas, 'drop', place)
    fire(cell, 'dragend')
}
"""

# Whether the page finds the first node of a type where it lies, as it does some time after it has drawn it.
KNOWS_PLACE = """
type => {
    const found = app.canvas.graph.nodes.find(each => each.type === type)
    const place = app.canvasPosToClientPos([found.pos[0] + 20, found.pos[1] + 10])
    return app.canvas.graph.getNodeOnPos(...app.clientPosToCanvasPos(place)) === found
}
"""

# Ask for the menu of the element that has the focus, as the menu key does.
MENU_EVENT = """
element => element.dispatchEvent(new PointerEvent('contextmenu', { bubbles: true, cancelable: true, pointerType: '' }))
"""

# Return a point of the first node of a type on the screen, below its title, or of the free canvas.
NODE_POINT = """
type => {
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const found = type && app.canvas.graph.nodes.find(each => each.type === type)
    return found ? app.canvasPosToClientPos([found.pos[0] + 20, found.pos[1] + 10]) : [right - 300, bottom - 300]
}
"""

# Add a node of a type to the graph, where the sidebar does not cover it.
ADD_IN_SIGHT = """
type => {
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const node = LiteGraph.createNode(type)
    node.pos = app.clientPosToCanvasPos([right - 400, bottom - 500])
    app.canvas.graph.add(node)
}
"""

# Return what is wrong with the controls of the panel, or of the dialog or menu over it: outside, covered, or cut off.
LAYOUT = """
() => {
    const dialogs = document.querySelectorAll('dialog:modal')
    const top = document.querySelector('.ca-menu') ?? dialogs[dialogs.length - 1] ?? document.querySelector('.ca-root')
    const controls = 'button, input, select, textarea, summary, a[href], [role=option], [role=tab], [role=slider]'
    const name = element => (element.ariaLabel || element.innerText || element.title || element.className).slice(0, 40)
    const problems = []
    for (const control of top.querySelectorAll(controls)) {
        const whole = control.getBoundingClientRect()
        if (whole.width === 0 || !control.checkVisibility({ visibilityProperty: true })) continue
        if (control.closest('[inert]') !== null) continue // covered on purpose
        let { left, top: upper, right, bottom } = whole
        let isClipped = false
        for (let parent = control.parentElement; parent !== null; parent = parent.parentElement) {
            const { overflowX, overflowY } = getComputedStyle(parent)
            const box = parent.getBoundingClientRect()
            const [isScrolledX, isScrolledY] = [overflowX, overflowY].map(each => ['auto', 'scroll'].includes(each))
            if (overflowX !== 'visible') {
                isClipped ||= !isScrolledX && (left < box.left - 1 || right > box.right + 1)
                left = Math.max(left, box.left), right = Math.min(right, box.right)
            }
            if (overflowY !== 'visible') upper = Math.max(upper, box.top), bottom = Math.min(bottom, box.bottom)
        }
        if (bottom - upper < 2 || right - left < 2) continue // scrolled out of view
        const isOfStrip = control.matches('[role=option], .ca-filmstrip-cell') // which may be cut off at its ends
        if (isClipped && !isOfStrip) problems.push(`${name(control)}: cut off`)
        if (left < -1 || right > innerWidth + 1) problems.push(`${name(control)}: out of the window`)
        const hit = document.elementFromPoint((left + right) / 2, (upper + bottom) / 2)
        const label = control.closest('label')
        if (hit !== null && !control.contains(hit) && !(label ?? control).contains(hit)) {
            problems.push(`${name(control)}: under ${hit.className} ${name(hit)}`)
        }
        if (control.matches('button, a') && control.scrollWidth > control.clientWidth + 2) {
            problems.push(`${name(control)}: its text is cut off`)
        }
    }
    if (document.documentElement.scrollWidth > innerWidth) problems.push('the page scrolls sideways')
    return problems
}
"""

# Put the focus on the first control of the panel, or of the dialog over it, take note of what gets the focus from now
# on, and return how often to press Tab to come to all of them.
BEFORE_TABS = """
() => {
    const dialogs = document.querySelectorAll('dialog:modal')
    const top = dialogs[dialogs.length - 1] ?? document.querySelector('.ca-root')
    const groups = new Set()
    const isOwn = element => element.type !== 'radio' || !groups.has(element.name) && groups.add(element.name)
    const isInReach = each => each.tabIndex >= 0 && !each.disabled && each.closest('[inert]') === null
        && each.checkVisibility({ visibilityProperty: true })
    const controls = [...top.querySelectorAll('button, input, select, textarea, summary, a[href], [tabindex]')]
        .filter(each => isInReach(each) && isOwn(each))
    const reached = new Set()
    addEventListener('focusin', event => reached.add(event.target))
    window.unreached = () => controls.filter(each => each.isConnected && !reached.has(each)
        && !(each.type === 'radio' && [...reached].some(other => other.name === each.name)))
        .map(each => each.outerHTML.slice(0, 120))
    controls[0].focus()
    reached.add(document.activeElement)
    return controls.length + 4 * controls.filter(each => each.type === 'date').length // day, month, year, calendar
}
"""

# Return the places of the controls of the panel, or of the dialog over it, without those of notifications.
PLACES = """
() => {
    const dialogs = document.querySelectorAll('dialog:modal')
    const top = dialogs[dialogs.length - 1] ?? document.querySelector('.ca-root')
    // Cells below the view come and go with its height.
    const isShown = each => each.checkVisibility({ visibilityProperty: true })
        && !each.closest('.ca-notification, .ca-cell')
    return [...top.querySelectorAll('button, input, select, img, video')].filter(isShown).map(each => {
        const { x, y } = each.getBoundingClientRect()
        return `${each.ariaLabel ?? each.innerText ?? each.alt} ${Math.round(x)} ${Math.round(y)}`
    })
}
"""
